/** What callers see in the types: the error union of every method, and what layers ask for. */
import { describe, expectTypeOf, it } from "@effect/vitest"
import type { Effect, FileSystem, Layer, Path, Stream } from "effect"
import { Context, Effect as Effects } from "effect"
import type { SecureRandom } from "effect/crypto"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { ChainBroken, Head } from "../../src/core/Chain.ts"
import type { Event } from "../../src/core/Event.ts"
import type { ParityReport } from "../../src/core/Parity.ts"
import * as Policy from "../../src/core/Policy.ts"
import type { VerifyReport } from "../../src/core/VerifyReport.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import type { BackupReport } from "../../src/store/Backup.ts"
import type { Guard } from "../../src/store/Guard.ts"
import type { Ledger, OpenError } from "../../src/store/Ledger.ts"
import type { verify } from "../../src/store/Ledger.ts"
import type * as Mirror from "../../src/store/Mirror.ts"
import * as PolicyGate from "../../src/store/PolicyGate.ts"
import type { Reader } from "../../src/store/Reader.ts"
import type { ReplayReport } from "../../src/store/Replay.ts"

type Open = Ledger["Service"]
type Tag<E> = E extends { readonly _tag: infer T } ? T : E

type ErrorOf<T> =
  T extends Effect.Effect<unknown, infer E, unknown>
    ? Tag<E>
    : T extends Stream.Stream<unknown, infer E, unknown>
      ? Tag<E>
      : never

type Append =
  | "DraftInvalid"
  | "PayloadTooLarge"
  | "PolicyRefused"
  | "IdConflict"
  | "UnknownParent"
  | "JournalError"
  | "MirrorError"
  | "RowDamaged"
  | "AttestorMissing"
  | "SignError"
  | "JournalFinal"
  | "LedgerClosed"
  | "OutcomeUnknown"
  | "MirrorBehind"

type Read = "JournalError" | "MirrorError" | "RowDamaged"

describe("the error union", () => {
  it("of append and appendAll names every way in which they answer no receipt", () => {
    expectTypeOf<ErrorOf<ReturnType<Open["append"]>>>().toEqualTypeOf<Append>()
    expectTypeOf<ErrorOf<ReturnType<Open["appendAll"]>>>().toEqualTypeOf<Append>()
  })

  it("of reading names what may be wrong with what is read", () => {
    expectTypeOf<ErrorOf<Open["head"]>>().toEqualTypeOf<"MirrorError">()
    expectTypeOf<ErrorOf<ReturnType<Open["get"]>>>().toEqualTypeOf<Read | "EventNotFound">()
    expectTypeOf<ErrorOf<ReturnType<Open["line"]>>>().toEqualTypeOf<Read | "EventNotFound">()
    expectTypeOf<ErrorOf<ReturnType<Open["events"]>>>().toEqualTypeOf<
      Read | "PositionUnknown" | "RolledBack"
    >()
    expectTypeOf<ErrorOf<ReturnType<Open["backup"]>>>().toEqualTypeOf<Read>()
  })

  it("of verify has no damage in it, as damage is its answer", () => {
    expectTypeOf<ErrorOf<ReturnType<Open["verify"]>>>().toEqualTypeOf<
      "JournalError" | "MirrorError" | "PublicKeyInvalid"
    >()
    expectTypeOf<ErrorOf<ReturnType<typeof verify>>>().toEqualTypeOf<
      "JournalError" | "MirrorError" | "FormatUnknown" | "NotALedger" | "PublicKeyInvalid"
    >()
  })

  it("of replay and parity names every way in which the legs may not agree", () => {
    expectTypeOf<ErrorOf<Open["parity"]>>().toEqualTypeOf<Read | "ChainBroken" | "IdConflict">()
    expectTypeOf<ErrorOf<Open["replay"]>>().toEqualTypeOf<
      Read | "ChainBroken" | "IdConflict" | "RowDiffers"
    >()
    expectTypeOf<ErrorOf<ReturnType<typeof Mirror.insert>>>().toEqualTypeOf<
      "RowDiffers" | "MirrorError"
    >()
  })

  it("of opening names every refusal", () => {
    expectTypeOf<Tag<OpenError>>().toEqualTypeOf<
      | "LedgerDamaged"
      | "LedgerDiverged"
      | "OperationUnfinished"
      | "NotALedger"
      | "FormatUnknown"
      | "StoreBusy"
      | "LockError"
      | "AttestorRefused"
      | "JournalError"
      | "MirrorError"
    >()
  })
})

describe("an answer", () => {
  it("is a value of its own class", () => {
    type Value<T> = T extends Effect.Effect<infer A, unknown, unknown> ? A : never
    expectTypeOf<Value<ReturnType<Open["append"]>>["_tag"]>().toEqualTypeOf<
      "Appended" | "AlreadyAppended"
    >()
    expectTypeOf<Open["head"]>().toExtend<Effect.Effect<Head, unknown>>()
    expectTypeOf<Value<ReturnType<Open["get"]>>>().toEqualTypeOf<Event>()
    expectTypeOf<Value<ReturnType<Open["verify"]>>>().toEqualTypeOf<VerifyReport>()
    expectTypeOf<Value<Open["parity"]>>().toEqualTypeOf<ParityReport>()
    expectTypeOf<Value<Open["replay"]>>().toEqualTypeOf<ReplayReport>()
    expectTypeOf<Value<ReturnType<Open["backup"]>>>().toEqualTypeOf<BackupReport>()
  })

  it("of Reader offers no way to write", () => {
    expectTypeOf<Reader["Service"]>().not.toHaveProperty("append")
    expectTypeOf<Reader["Service"]>().not.toHaveProperty("replay")
    expectTypeOf<Open>().toExtend<Reader["Service"]>()
  })
})

describe("a layer", () => {
  class Limits extends Context.Service<Limits, { readonly max: number }>()("test/types/Limits") {}
  class Prices extends Context.Service<Prices, { readonly of: number }>()("test/types/Prices") {}

  const limit = PolicyGate.rule({ id: "limit" }, () =>
    Effects.map(Limits, ({ max }) => Policy.allow(String(max)))
  )
  const price = PolicyGate.gate({ id: "price" }, (_draft, sql) =>
    Effects.andThen(
      sql`SELECT 1`,
      Effects.map(Prices, (prices) => Policy.allow(String(prices.of)))
    )
  )

  it("asks for what its rules and gates ask for, and for nothing else", () => {
    const plain = SealogNode.layer({ directory: "d" })
    expectTypeOf(plain).toEqualTypeOf<Layer.Layer<Ledger | Reader, OpenError>>()
    const both = SealogNode.layer({ directory: "d", rules: [limit, price] })
    expectTypeOf(both).toEqualTypeOf<Layer.Layer<Ledger | Reader, OpenError, Limits | Prices>>()
    const over = SealogNode.layerOver({ file: "f", rules: [limit] })
    expectTypeOf(over).toEqualTypeOf<
      Layer.Layer<
        Ledger | Reader,
        OpenError,
        FileSystem.FileSystem | Path.Path | Guard | SecureRandom.SecureRandom | Limits
      >
    >()
  })

  it("takes rules that cannot fail, and gates that fail by SQL alone", () => {
    expectTypeOf(limit).toEqualTypeOf<PolicyGate.Rule<Limits>>()
    expectTypeOf(price).toEqualTypeOf<PolicyGate.Rule<Prices>>()
    type On<T extends string> = Extract<PolicyGate.Rule["vote"], { readonly _tag: T }>["on"]
    expectTypeOf<ReturnType<On<"Draft">>>().toEqualTypeOf<Effect.Effect<Policy.Vote>>()
    expectTypeOf<ReturnType<On<"Gate">>>().toEqualTypeOf<Effect.Effect<Policy.Vote, SqlError>>()
    expectTypeOf<Parameters<On<"Gate">>[1]>().toEqualTypeOf<SqlClient.SqlClient>()
  })

  it("tells a replay's broken chain by its class", () => {
    type Broken = Extract<
      Open["replay"] extends Effect.Effect<unknown, infer E> ? E : never,
      { readonly _tag: "ChainBroken" }
    >
    expectTypeOf<Broken>().toEqualTypeOf<ChainBroken>()
  })
})
