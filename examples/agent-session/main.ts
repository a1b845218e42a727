/**
 * An agent's session as a ledger: it branches, is checkpointed, goes wrong, is rolled back, and can
 * still show what was cut.
 *
 *   node examples/agent-session/main.ts
 *
 * Each entry names the one it goes on from, so one turn may have several continuations and a path
 * leads from any entry back to the first. Every step checks what it shows. Exit code 0: all of it was
 * so. 1: something was not.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Console, Data, Effect, FileSystem, Path, Result, Schema, Stream } from "effect"
import { Checkpoint, Event, Ledger, Row, Segment } from "../../src/index.ts"
import { SealogNode } from "../../src/platform/index.ts"

/** What this example shows did not hold. */
class NotSo extends Data.TaggedError("NotSo")<{ message: string }> {}

const claim = (holds: boolean, otherwise: string) =>
  holds ? Effect.void : Effect.fail(new NotSo({ message: otherwise }))

const Asked = Event.define("session.asked.v1", Schema.Struct({ text: Schema.String }))
const Answered = Event.define(
  "session.answered.v1",
  Schema.Struct({ model: Schema.String, text: Schema.String })
)
const Ran = Event.define(
  "session.tool.ran.v1",
  Schema.Struct({ command: Schema.String, exitCode: Schema.Int })
)
const kinds = [Asked, Answered, Ran]
type Entry = Event.Typed<(typeof kinds)[number]>

/** An entry in a few words; every kind is known here, or this does not compile. */
const shown = ({ payload, type }: Entry): string => {
  switch (type) {
    case Asked.type:
      return `user asks "${payload.text}"`
    case Answered.type:
      return `${payload.model} says "${payload.text}"`
    case Ran.type:
      return `$ ${payload.command} (${payload.exitCode})`
  }
}

const title = (text: string) => Console.log(`\n${text}`)
const say = (text: string) => Console.log(`   ${text}`)
const list = (entries: ReadonlyArray<Entry>) =>
  Effect.forEach(entries, (entry) => say(`${entry.seq}  ${shown(entry)}`), { discard: true })
const seqs = (entries: ReadonlyArray<{ readonly seq: number }>) =>
  entries.map(({ seq }) => seq).join(" ")

/** The way from the first entry to this one. */
const pathTo = (leaf: string | number) =>
  Ledger.Ledger.use((ledger) => Stream.runCollect(ledger.path(leaf, { kinds })))

const by = { operator: "ada", reason: "it edits files that nobody asked about" }
const model = "model-a"

/** A question, an answer, and two ways to go on from it. */
const branch = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  const question = yield* ledger.append(Asked.make({ text: "rename User to Account" }))
  const turn = yield* ledger.append(
    Answered.make({ model, text: "I look for it first" }, { parentId: question.id })
  )
  yield* ledger.append(Ran.make({ command: "grep -r User .", exitCode: 2 }, { parentId: turn.id }))
  const second = yield* ledger.append(
    Ran.make({ command: "grep -r User src", exitCode: 0 }, { parentId: turn.id })
  )
  const leaves = yield* Stream.runCollect(ledger.events({ leaves: true }))
  yield* title("1. The session branches: row 2 has two continuations")
  for (const leaf of leaves) {
    const path = yield* pathTo(leaf.id)
    yield* say(`path to ${leaf.seq}: ${seqs(path)}`)
    yield* claim(seqs(path) === `1 2 ${leaf.seq}`, "A path is not what was appended.")
  }
  yield* claim(seqs(leaves) === "3 4", "The leaves are not both continuations.")
  return second.id
})

/** Where the session stood is stated; then it goes on from one branch, the wrong way. */
const goWrong = Effect.fn("goWrong")(function* (tip: string) {
  const ledger = yield* Ledger.Ledger
  const before = yield* ledger.checkpoint("before files are changed")
  yield* title("2. A checkpoint, and the session goes on")
  yield* say(`checkpoint ${before.number}: ${before.size} rows, root ${before.root.slice(0, 16)}…`)
  let parentId = tip
  for (const draft of [
    Ran.make({ command: "sed -i s/User/Account/ node_modules/*", exitCode: 0 }, { parentId }),
    Answered.make({ model, text: "all tests fail now" })
  ]) {
    parentId = (yield* ledger.append({ ...draft, parentId })).id
  }
  const wrong = yield* pathTo(parentId)
  yield* claim(seqs(wrong) === "1 2 4 5 6", "The session did not go on from its branch.")
  yield* list(wrong.slice(3))
  return { before, cut: yield* ledger.head }
})

/** The rows that an operation has cut, read from the file that keeps them. */
const keptRows = Effect.fn("keptRows")(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const firstSeq = Segment.firstSeq(path.basename(file)) ?? 0
  const lines = Segment.lines(file, yield* fs.readFile(file), Segment.lineBytesMaxDefault)
  return yield* Effect.forEach(lines, ({ bytes }, nth) =>
    Row.decode(bytes, firstSeq + nth, "segments").pipe(
      Result.flatMap(({ event }) => Event.decode(kinds, event)),
      Effect.fromResult
    )
  )
})

/** Back to the checkpoint; what was cut is still there to be read and verified. */
const goBack = Effect.fn("goBack")(function* (
  tip: string,
  { before, cut }: Effect.Success<ReturnType<typeof goWrong>>
) {
  const ledger = yield* Ledger.Ledger
  const done = yield* ledger.rollback(before, by)
  yield* claim(done.outcome === "ok", "The rollback did not end well.")
  yield* title(`3. Rolled back by ${done.operator}: ${done.reason}`)
  yield* say("active path:")
  const active = yield* pathTo(tip)
  yield* claim(seqs(active) === "1 2 4", "The active path is not the one of the checkpoint.")
  yield* list(active)
  for (const { path: file, rows } of done.cut) {
    const report = yield* Ledger.verifyPart(file)
    const entries = yield* keptRows(file)
    const holds = report._tag === "Intact" && report.head.leafHash === cut.leafHash
    yield* claim(holds && seqs(entries) === "5 6", "What was cut is not what was kept.")
    yield* say(`cut, kept and verified (${report._tag}, ${rows} rows):`)
    yield* list(entries)
  }
  yield* claim(done.cut.length === 1, "What was cut is not in one file.")
  const read = yield* Effect.result(Stream.runDrain(ledger.events({ after: cut })))
  const told = Result.isFailure(read) ? read.failure : undefined
  if (told?._tag !== "RolledBack") return yield* claim(false, "The cut position is not known.")
  yield* claim(told.to.seq === before.size, "A reader is sent on from elsewhere.")
  yield* say(`a reader at row ${cut.seq} is told: ${told._tag}, go on from ${told.to.seq}`)
})

/** Opened again, the ledger must still have what the checkpoint states that was kept elsewhere. */
const checkAgain = Effect.fn("checkAgain")(function* (tip: string, kept: string) {
  const ledger = yield* Ledger.Ledger
  const checkpoint = yield* Effect.fromResult(Checkpoint.decode(kept))
  yield* title("4. Opened again, another way")
  yield* claim(ledger.opened._tag === "Clean", "It did not open clean.")
  const { id } = yield* ledger.append(
    Ran.make({ command: "sed -i s/User/Account/ src/*", exitCode: 0 }, { parentId: tip })
  )
  yield* list((yield* pathTo(id)).slice(-1))
  const report = yield* ledger.verify({ checkpoint })
  const holds = report._tag === "Intact" && report.checks["checkpoints"] === "Passed"
  yield* claim(holds && report.rows === 5, "It is not what the checkpoint states.")
  yield* say(`${report._tag}: ${report.rows} rows, checked against checkpoint ${checkpoint.number}`)
})

const example = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const directory = yield* fs.makeTempDirectoryScoped({ prefix: "sealog-agent-session-" })
  const opened = Effect.provide(SealogNode.layer({ directory: `${directory}/session` }))
  yield* Console.log("An agent's session as a ledger")
  const { kept, tip } = yield* Effect.gen(function* () {
    const tip = yield* branch
    const wrong = yield* goWrong(tip)
    yield* goBack(tip, wrong)
    // As it would be kept elsewhere: a few hundred bytes of text.
    return { tip, kept: Checkpoint.encode(wrong.before) }
  }).pipe(opened)
  yield* opened(checkAgain(tip, kept))
}).pipe(Effect.scoped)

NodeRuntime.runMain(Effect.provide(example, NodeServices.layer))
