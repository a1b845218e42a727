/**
 * The history of a git repository as a sealed ledger: appended, verified, damaged on purpose,
 * caught, restored, and its mirror rebuilt.
 *
 *   node examples/git-history/main.ts [REPOSITORY] [--ledger DIRECTORY] [--keep]
 *
 * Every step checks what it shows. Exit code 0: all of it was so. 1: something was not. 2: it could
 * not be tried, as where there is no history.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Console, Data, Duration, Effect, FileSystem, Option, Path, Runtime } from "effect"
import { Schema, Stream, Terminal } from "effect"
import { Argument, CliError, Command, Flag, TerminalCapabilities } from "effect/cli"
import { Ledger, type VerifyReport } from "../../src/index.ts"
import { SealogNode } from "../../src/platform/index.ts"
import { commits, isShallow, replaced } from "./commits.ts"

/** Why the example ended early, and with which exit code. */
class Stopped extends Data.TaggedError("Stopped")<{ message: string; code: 1 | 2 }> {
  override readonly [Runtime.errorExitCode] = this.code
  override readonly [Runtime.errorReported] = false
}

/** What this example shows; where it does not hold, that is the end. */
const claim = (holds: boolean, otherwise: string) =>
  holds ? Effect.void : Effect.fail(new Stopped({ message: otherwise, code: 1 }))

/** Text from elsewhere, which could otherwise steer the terminal that it is shown on. */
const shown = (text: string) => text.replace(/[\p{Cc}\p{Bidi_Control}]/gu, "\ufffd")

const count = (n: number) => n.toLocaleString("en")
const { canAnimate, canColor } = TerminalCapabilities.TerminalCapabilities.defaultValue()
const paint = (code: number, text: string) => (canColor ? `\u001b[${code}m${text}\u001b[0m` : text)
const title = (text: string) => Console.log(`\n${paint(1, text)}`)
const say = (text: string) => Console.log(`   ${text}`)
const good = (text: string) => say(`${paint(32, "✓")} ${text}`)
const bad = (text: string) => say(`${paint(31, "✗")} ${text}`)

const groupRows = 256

const append = Effect.fn("append")(function* (repository: string) {
  const ledger = yield* Ledger.Ledger
  const terminal = yield* Terminal.Terminal
  const shallow = yield* isShallow(repository)
  const total = { read: 0, appended: 0, replaced: 0 }
  yield* commits(repository).pipe(
    Stream.grouped(groupRows),
    Stream.runForEach(
      Effect.fnUntraced(function* (drafts) {
        // A group is atomic: after a crash all of its commits are in the ledger, or none is.
        const receipts = yield* ledger.appendAll(drafts)
        total.read += drafts.length
        total.appended += receipts.filter(({ _tag }) => _tag === "Appended").length
        total.replaced += drafts.filter((draft) => draft.domainTags?.includes(replaced)).length
        if (canAnimate) yield* terminal.display(`   ${count(total.read)} commits\r`)
      })
    )
  )
  const there = total.read - total.appended
  yield* good(
    `${count(total.read)} commits: ${count(total.appended)} appended, ${count(there)} there before`
  )
  if (shallow) yield* say("The clone is shallow: its history begins where it was cut off.")
  if (total.replaced > 0)
    yield* say(`In ${count(total.replaced)} of them \ufffd stands for text that is not UTF-8.`)
})

const verify = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  const report = yield* ledger.verify()
  const { seq } = yield* ledger.head
  const found = report._tag === "Damaged" ? report.failures[0]?.message : "rows are missing"
  yield* claim(report._tag === "Intact" && report.rows === seq, `The ledger is damaged: ${found}.`)
  yield* good(
    `${count(seq)} rows are intact, the leaf hash of the newest is ${report.head.leafHash}`
  )
  return report
})

const explain = Effect.fn("explain")(function* (report: VerifyReport.VerifyReport) {
  const levels = Object.keys(report.checks)
  const those = (is: string) => levels.filter((level) => report.checks[level] === is).join(", ")
  yield* good(`checked: ${those("Passed")}; not checked: ${those("Skipped")}`)
  yield* say(`not proven: ${report.notProven.join("; ")}`)
})

/** Change the lowest bit of one byte, durable; doing it again takes it back. */
const flip = Effect.fn("flip")(
  function* (path: string, at: number) {
    const fs = yield* FileSystem.FileSystem
    const file = yield* fs.open(path, { flag: "r+" })
    const byte = new Uint8Array(1)
    yield* file.read(byte, { position: BigInt(at) })
    yield* file.seek(BigInt(at), "start")
    yield* file.writeAll(byte.map((bits) => bits ^ 1))
    yield* file.sync
  },
  Effect.scoped,
  Effect.uninterruptible
)

const segmentsOf = Effect.fn("segmentsOf")(function* (directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const names = yield* fs.readDirectory(path.join(directory, "segments"))
  return yield* Effect.forEach(names.toSorted(), (name) => {
    const file = path.resolve(directory, "segments", name)
    return Effect.map(fs.stat(file), ({ size }) => ({ file, bytes: Number(size) }))
  })
})

const Payload = Schema.Struct({ commit: Schema.String, subject: Schema.String })

const damage = Effect.fn("damage")(function* (directory: string) {
  const ledger = yield* Ledger.Ledger
  const segments = yield* segmentsOf(directory)
  const { file = "", bytes = 0 } = segments[Math.floor(segments.length / 2)] ?? {}
  const at = Math.floor(bytes / 2)
  const report = yield* Effect.acquireUseRelease(
    flip(file, at),
    () => ledger.verify(),
    () => Effect.orDie(flip(file, at))
  )
  yield* say(`changed one bit of byte ${count(at)} in ${file}`)
  const found = report._tag === "Damaged" ? report.failures[0] : undefined
  if (found === undefined) return yield* claim(false, "The changed bit was not found.")
  const { length } = yield* ledger.line(found.seq)
  const isThere = found.path === file && found.offset <= at && at <= found.offset + length
  yield* claim(isThere, `Row ${found.seq} was named, but the changed bit lies elsewhere.`)
  const row = yield* ledger.get(found.seq)
  const { commit, subject } = yield* Schema.decodeUnknownEffect(Payload)(row.payload)
  yield* bad(`row ${count(found.seq)} is damaged: ${found.reason.kind}, ${row.id}`)
  yield* say(`  it holds commit ${commit.slice(0, 10)}, ${shown(subject)}`)
})

const removeMirror = Effect.fn("removeMirror")(function* (directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const files = ["mirror.sqlite", "mirror.sqlite-wal", "mirror.sqlite-shm"]
  yield* Effect.forEach(files, (file) => fs.remove(path.join(directory, file), { force: true }))
})

const rebuild = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  const { seq } = yield* ledger.head
  const actions = ledger.opened._tag === "Recovered" ? ledger.opened.actions : []
  const isRemade = actions.some((action) => action._tag === "MirrorRemade" && action.rows === seq)
  yield* claim(isRemade, "The mirror was not rebuilt from the segments.")
  yield* good(`opening replayed ${count(seq)} rows from the segments`)
  const { replayed, skippedExisting } = yield* ledger.replay
  yield* claim(replayed === 0 && skippedExisting === seq, "A second replay found rows missing.")
  yield* good(`a second replay found all ${count(skippedExisting)} there`)
})

const parity = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  const { isConsistent, jsonlEventCount, sqliteEventCount } = yield* ledger.parity
  yield* claim(isConsistent, "Segments and mirror differ.")
  yield* good(
    `${count(jsonlEventCount)} rows in segments, ${count(sqliteEventCount)} in SQL, none differs`
  )
})

const timed = <E, R>(name: string, step: Effect.Effect<unknown, E, R>) =>
  title(name).pipe(
    Effect.andThen(step),
    Effect.timed,
    Effect.map(([took]) => `${Duration.toSeconds(took).toFixed(2).padStart(7)} s  ${name}`)
  )

const repository = Argument.String("repository").pipe(
  Argument.withDescription("Any git repository; this one where nothing is said"),
  Argument.withDefault(`${import.meta.dirname}/../..`)
)
const place = Flag.String("ledger").pipe(
  Flag.withDescription("Where to make the ledger, or go on with it; by default for this run only"),
  Flag.optional
)
const keep = Flag.Boolean("keep").pipe(
  Flag.withDescription("Keep the ledger that is made by default"),
  Flag.withDefault(false)
)

const example = Effect.fn("example")(function* (input: {
  readonly repository: string
  readonly place: Option.Option<string>
  readonly keep: boolean
}) {
  const fs = yield* FileSystem.FileSystem
  const repository = (yield* Path.Path).resolve(input.repository)
  const prefix = "sealog-git-history-"
  const fresh = input.keep
    ? fs.makeTempDirectory({ prefix })
    : fs.makeTempDirectoryScoped({ prefix })
  const directory = yield* Option.match(input.place, {
    onNone: () => fresh,
    onSome: Effect.succeed
  })
  yield* Console.log(`The history of ${repository} as a ledger in ${directory}`)
  const opened = Effect.provide(SealogNode.layer({ directory }))
  const times = yield* Effect.all([
    timed("1. Append one event per commit", opened(append(repository))),
    timed("2. Verify", opened(Effect.flatMap(verify, explain))),
    timed("3. Change one bit, verify, change it back", opened(damage(directory))),
    timed("4. Verify again", opened(verify)),
    timed(
      "5. Delete the mirror, open again",
      Effect.andThen(removeMirror(directory), opened(rebuild))
    ),
    timed("6. Compare segments and mirror", opened(parity))
  ])
  const { seq } = yield* opened(Ledger.Ledger.use(({ head }) => head))
  const bytes = (yield* segmentsOf(directory)).reduce((sum, segment) => sum + segment.bytes, 0)
  yield* title("All of it held")
  yield* Effect.forEach(times, say)
  yield* say(`${count(seq)} rows, ${count(bytes)} bytes of segments in ${directory}`)
  if (Option.isNone(input.place) && !input.keep) yield* say("It is removed now; --keep leaves it.")
}, Effect.scoped)

const command = Command.make("git-history", { repository, place, keep }, example)

Command.run(command, { version: "0.1.0" }).pipe(
  Effect.mapError((error) =>
    CliError.isCliError(error) || error._tag === "Stopped"
      ? error
      : new Stopped({ message: error.message, code: 2 })
  ),
  Effect.tapErrorTag("Stopped", ({ message }) =>
    Console.error(`\n${shown(message.replace(/\s+/g, " "))}`)
  ),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)
