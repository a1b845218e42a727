/**
 * The ways to use a ledger, each as an effect that ends by name; for the tests and for processes of
 * their own, so nothing of the test runner is used here.
 */
import { Cause, Effect, Exit, Predicate, Stream } from "effect"
import * as Event from "../../src/core/Event.ts"
import type { VerifyReport } from "../../src/core/VerifyReport.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import type { Location } from "../../src/store/journal/Layout.ts"
import * as LedgerModule from "../../src/store/Ledger.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"

/** The tag of an error, or what it is called otherwise. */
export const tagOf = (error: unknown): string =>
  Predicate.hasProperty(error, "_tag") ? String(error._tag) : String(error)

/** How an effect ended: its value as `ok`, or the tag of its error. A defect fails the test. */
export const ending = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    if (Exit.isSuccess(exit)) return { tag: "ok", message: "", error: undefined }
    if (Cause.hasDies(exit.cause)) throw new Error(`a defect: ${Cause.pretty(exit.cause)}`)
    const error = Cause.squash(exit.cause)
    const message = Predicate.hasProperty(error, "message") ? String(error.message) : ""
    return { tag: tagOf(error), message, error }
  })

/** Open a ledger for writing and append to it. */
export const appending = (location: Location, type = "a.v1") =>
  Effect.flatMap(Ledger, (ledger) =>
    Effect.as(ledger.append({ type, id: Event.idFrom("appended") }), ledger)
  ).pipe(Effect.provide(TestLedger.layer(location), { local: true }))

/** Run a body on a reader of a ledger that nobody needs to have open. */
export const reading = <A, E>(
  location: Location,
  body: (reader: Reader["Service"]) => Effect.Effect<A, E>
) => Effect.flatMap(Reader, body).pipe(Effect.provide(SealogNode.layerReader(location)))

/** A report as an effect: damage is a failure. */
const intact = (report: VerifyReport) =>
  report._tag === "Intact"
    ? Effect.void
    : Effect.fail({ _tag: report._tag, message: report.failures.map((f) => f.message).join("; ") })

/** Verify files without opening them, and without their mirror. */
export const verifying = (location: Location) =>
  Effect.flatMap(Effect.provide(LedgerModule.verify(location), SealogNode.layerPlatform), intact)

/** Every way to read a ledger; `to` is a place for its backup. */
export const readers = (
  location: Location,
  to: string
): { readonly [how: string]: Effect.Effect<unknown, unknown> } => ({
  verify: verifying(location),
  head: reading(location, (reader) => reader.head),
  get: reading(location, (reader) => reader.get(1)),
  line: reading(location, (reader) => reader.line(2)),
  events: reading(location, (reader) => Stream.runDrain(reader.events())),
  "verify with its mirror": reading(location, (reader) => Effect.flatMap(reader.verify(), intact)),
  parity: reading(location, (reader) => reader.parity),
  backup: reading(location, (reader) => reader.backup(to))
})
