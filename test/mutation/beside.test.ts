/**
 * What lies beside a journal, mutated byte by byte: `ledger.json`, and the folder of an operation
 * that a process left behind in each of its states.
 *
 * Verification says what is wrong with `ledger.json` and does not look at operations. Opening
 * refuses by name or goes on, and no row that was whole before is gone afterwards.
 */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { utf8 } from "../core/history.ts"
import { opening } from "../store/crashKit.ts"
import { planText } from "../store/plans.ts"
import { directoryLedger as made, identity } from "./fixture.ts"
import type { Lab } from "./lab.ts"
import { Findings, makeLab, outcomeOf, provideLab } from "./lab.ts"
import type { KindsAt, Mutation } from "./mutations.ts"
import { byteMutations, cuts, everyKind, oneKind } from "./mutations.ts"
import { isOurs, ours, share, sweepMillisMax } from "./turns.ts"

const ofFile = (name: string, bytes: Uint8Array) => new Map([[name, bytes]])

function* mutationsOf(name: string, bytes: Uint8Array, kindsAt = everyKind): Generator<Mutation> {
  yield* byteMutations(ofFile(name, bytes), kindsAt)
  yield* cuts(ofFile(name, bytes))
}

/** What must come of a ledger.json, by JSON alone: the name of a refusal, or undefined. */
const refusalOf = (bytes: Uint8Array): string | undefined => {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return "NotALedger"
  }
  const { created, format, id }: { readonly [member: string]: unknown } = Object(json)
  if (typeof format === "string" && format !== "sealog/1") return "FormatUnknown"
  const isWhole = format === "sealog/1" && typeof id === "string" && typeof created === "string"
  return isWhole ? undefined : "NotALedger"
}

describe("a mutated ledger.json", () => {
  it.effect(
    "is refused by its name, or says who the ledger is and nothing else",
    () =>
      Effect.gen(function* () {
        const lab = yield* makeLab(made)
        const findings = new Findings()
        for (const { files, what } of ours(mutationsOf("ledger.json", identity))) {
          const bytes = files.get("ledger.json") ?? Uint8Array.of()
          yield* lab.put(made.files)
          lab.disk.write(lab.layout.ledgerJson, bytes)
          for (const mirror of ["with mirror", "without mirror"] as const) {
            const { message, tag, value } = yield* lab.verify(mirror)
            const want = refusalOf(bytes) ?? "Success"
            const isRight = tag === want && (value === undefined || value._tag === "Intact")
            findings.note(what, isRight ? undefined : `${want} expected, found ${tag} ${message}`)
          }
        }
        findings.assertNone(share(2000))
      }).pipe(provideLab),
    sweepMillisMax
  )

  it.effect("is refused when the ledger is opened, as when it is verified", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      const at = path.join(directory, "ledger.json")
      fs.mkdirSync(path.join(directory, "segments"), { recursive: true })
      const segments = [...made.files].map(([name, bytes]) => {
        const segment = path.join(directory, "segments", name)
        fs.writeFileSync(segment, bytes)
        return { segment, bytes }
      })
      const findings = new Findings()
      for (const { files, what } of ours(mutationsOf("ledger.json", identity, oneKind))) {
        const bytes = files.get("ledger.json") ?? Uint8Array.of()
        fs.writeFileSync(at, bytes)
        const { message, tag, value } = yield* outcomeOf(opening({ directory }))
        const want = refusalOf(bytes) ?? "Success"
        const isRight = tag === want && (value === undefined || value.head.seq === 7)
        findings.note(what, isRight ? undefined : `${want} expected, found ${tag} ${message}`)
        findings.note(what, fs.readFileSync(at).equals(bytes) ? undefined : "it was written anew")
      }
      for (const { bytes, segment } of segments)
        assert.isTrue(fs.readFileSync(segment).equals(bytes))
      findings.assertNone(share(200))
    })
  )
})

const last = "0000000000000004.jsonl"
const whole = made.files.get(last) ?? Uint8Array.of()
const id = "op_0"

/** `torn` bytes of a last group behind row 4, and a plan to cut them. */
const tornBy = (torn: number) => {
  const start = (made.lines[3]?.offset ?? 0) + (made.lines[3]?.bytes.byteLength ?? 0) + 1
  const tail = whole.subarray(start, start + torn)
  const sha256 = crypto.createHash("sha256").update(tail).digest("hex")
  const cut = [{ file: last, offset: start, bytes: torn, sha256, rows: null, kept: `${last}.cut` }]
  return { start, tail, plan: utf8.encode(planText({ id, cut })) }
}

/** How far the operation came: planned; its bytes copied; cut; its outcome said. */
const states = ["planned", "copied", "cut", "done"] as const
type State = (typeof states)[number]

/** The files of an operation's folder, and those of the journal, in a state. */
const operationIn = (state: State, torn: number) => {
  const { plan, start, tail } = tornBy(torn)
  const folder: { readonly [name: string]: Uint8Array } = {
    "plan.json": plan,
    ...(state === "planned" ? {} : { [`${last}.cut`]: tail }),
    ...(state === "done" ? { "outcome.json": utf8.encode('{"outcome":"ok"}\n') } : {})
  }
  const isCut = state === "cut" || state === "done"
  const end = isCut ? start : start + torn
  const files = new Map([...made.files, [last, whole.subarray(0, end)]])
  return { files, folder, isCut, start, tail }
}

/** What is wrong with how such a ledger opens, one file of the operation changed. */
const costs = Effect.fnUntraced(function* (
  lab: Lab,
  { files, folder, isCut, start, tail }: ReturnType<typeof operationIn>,
  mutation: Mutation,
  mirrored: number
) {
  yield* lab.put(files, mirrored)
  for (const [name, content] of [...Object.entries(folder), ...mutation.files]) {
    lab.disk.write(path.join(lab.layout.operations, id, name), content)
  }
  const { message, tag, value } = yield* lab.open
  const now = lab.journal().get(last) ?? Uint8Array.of()
  if (Buffer.compare(now.subarray(0, start), whole.subarray(0, start)) !== 0) {
    return `${tag}, and a row that was whole is gone`
  }
  if (value !== undefined) {
    if (value.head.seq !== 4) return `opened at row ${value.head.seq}`
    const isKept = isCut || Buffer.concat(lab.kept()).includes(Buffer.from(tail))
    return isKept ? undefined : "opened, and what was cut is nowhere"
  }
  if (tag !== "OperationUnfinished") return message
  return isCut || now.byteLength > start ? undefined : "refused, but the journal was cut"
})

describe("a mutated operation", () => {
  for (const state of states) {
    it.effect(
      `costs no row that was whole (${state})`,
      () =>
        Effect.gen(function* () {
          const lab = yield* makeLab(made)
          const findings = new Findings()
          const operation = operationIn(state, 200)
          yield* lab.put(operation.files)
          let nth = 0
          for (const [name, content] of Object.entries(operation.folder)) {
            for (const mutation of mutationsOf(name, content, oneKind)) {
              for (const mirrored of [0, 4]) {
                if (!isOurs(nth++)) continue
                const what = `${mutation.what}, ${mirrored} rows mirrored`
                findings.note(what, yield* costs(lab, operation, mutation, mirrored))
              }
            }
          }
          findings.assertNone(share(500))
        }).pipe(provideLab),
      sweepMillisMax
    )
  }

  it.effect("costs no row that the mirror holds, or that lies before the last segment", () =>
    Effect.gen(function* () {
      const lab = yield* makeLab(made)
      const findings = new Findings()
      for (const { file, offset, seq } of made.lines) {
        const bytes = made.files.get(file) ?? Uint8Array.of()
        const sha256 = crypto.createHash("sha256").update(bytes.subarray(offset)).digest("hex")
        const length = bytes.byteLength - offset
        const cut = [{ file, offset, bytes: length, sha256, rows: null, kept: `${file}.cut` }]
        const plan = planText({ id, cut })
        for (const mirrored of [0, 1, 3, 4, 7]) {
          yield* lab.put(made.files, mirrored)
          const at = path.join(lab.layout.operations, id, "plan.json")
          lab.disk.write(at, utf8.encode(plan))
          const { changes, message, tag } = yield* lab.open
          const isAllowed = file === last && seq > mirrored
          const isRight = isAllowed
            ? tag === "Success"
            : tag === "OperationUnfinished" && changes === 0
          const what = `a plan that cuts from row ${seq} on, ${mirrored} rows mirrored`
          findings.note(what, isRight ? undefined : `${tag}, ${changes} changes: ${message}`)
        }
      }
      findings.assertNone(35)
    }).pipe(provideLab)
  )

  it.effect(
    "costs no row where one bit of a number of its plan was flipped",
    () =>
      Effect.gen(function* () {
        const lab = yield* makeLab(made)
        const findings = new Findings()
        // Flipping one bit of a decimal digit moves the offset by one of these, or not at all.
        for (const torn of [1, 2, 4, 8, 10, 20, 40, 80, 100, 200]) {
          for (const state of ["planned", "copied", "cut"] as const) {
            const operation = operationIn(state, torn)
            const plan = operation.folder["plan.json"] ?? Uint8Array.of()
            const [from, to] = ['"bytes":', ',"sha256"'].map((text) =>
              Buffer.from(plan).indexOf(text)
            )
            const flips: KindsAt = (at) =>
              at > (from ?? 0) && at < (to ?? 0) ? ["flip 0", "flip 1", "flip 2", "flip 3"] : []
            for (const mutation of ours(byteMutations(ofFile("plan.json", plan), flips))) {
              const what = `${mutation.what}, ${torn} bytes torn, ${state}`
              findings.note(what, yield* costs(lab, operation, mutation, 0))
            }
          }
        }
        findings.assertNone(share(1000))
      }).pipe(provideLab),
    sweepMillisMax
  )
})
