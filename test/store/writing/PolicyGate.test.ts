import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Result } from "effect"
import { TestClock } from "effect/testing"
import type { SqlClient } from "effect/sql"
import type { BreakGlass, Outcome, Vote } from "../../../src/core/Policy.ts"
import * as Policy from "../../../src/core/Policy.ts"
import { Ledger } from "../../../src/store/Ledger.ts"
import * as PolicyGate from "../../../src/store/writing/PolicyGate.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import * as faults from "../faults.ts"
import {
  allowAll,
  assertLike,
  assertSound,
  cortexDraft,
  decisionOf,
  meddle,
  memberText,
  named,
  query,
  snapshot,
  tables,
  using,
  vectorLines
} from "../ledgerFixtures.ts"

interface GateCase {
  readonly name: string
  readonly surface: string
  readonly event: string
  readonly ledger: Policy.Decision
  readonly mirror: Policy.Decision | undefined
  readonly before: ReadonlyArray<string>
  readonly beforeStore: "both" | "jsonl" | "sqlite" | null
  readonly expect: { readonly ok: boolean; readonly error?: string; readonly head?: string }
}

const decisionIn = (line: string, name: string) => {
  const text = memberText(line, name)
  return text === undefined ? undefined : decisionOf(text)
}

const gateCases: ReadonlyArray<GateCase> = vectorLines("gates.jsonl")
  .filter((line) => /"surface":"(?:mirror_)?append"/.test(line))
  .map((line) => {
    const { name, surface, expect, before_store } = JSON.parse(line)
    const before: ReadonlyArray<unknown> = JSON.parse(memberText(line, "before") ?? "[]")
    return {
      name,
      surface,
      event: memberText(line, "event") ?? "",
      ledger: decisionIn(line, "ledger_policy") ?? decisionOf("null"),
      mirror: decisionIn(line, "mirror_policy"),
      before: before.map((event) => JSON.stringify(event)),
      beforeStore: before_store ?? null,
      expect
    }
  })

/** Which refusal an error text of the original means. */
const refusalOf = (error: string) => {
  const missing = /missing required contributor `([^`]+)`/.exec(error)?.[1]
  if (missing !== undefined) {
    const surface = missing.startsWith("mirror.") ? "mirror.append" : "ledger.append"
    return { _tag: "PolicyRefused", surface, reason: "missing_contributor", ruleId: missing }
  }
  if (error.includes("attestation contributor")) {
    const ruleId = Policy.Rules.attestationRequired
    return { _tag: "PolicyRefused", surface: "ledger.append", reason: "attestation", ruleId }
  }
  const surface = error.includes("blocks mirrored append") ? "mirror.append" : "ledger.append"
  return { _tag: "PolicyRefused", surface, reason: "blocked" }
}

const isSuccess = (answer: Result.Result<unknown, unknown>): boolean => answer._tag === "Success"

const failureOf = <E>(answer: Result.Result<unknown, E>): E | undefined =>
  Result.isFailure(answer) ? answer.failure : undefined

describe("ready decisions", () => {
  const paths = (directory: string) => ({
    file: path.join(directory, "log.jsonl"),
    mirror: path.join(directory, "log.jsonl.sealog", "mirror.sqlite")
  })

  /** Appends the case's event and looks at what came of it, in both legs. */
  const run = Effect.fnUntraced(function* (directory: string, { event, ledger, mirror }: GateCase) {
    const at = paths(directory)
    return yield* using({ file: at.file }, (open) =>
      Effect.gen(function* () {
        const before = [snapshot(directory), tables(at.mirror)]
        const seq = (yield* open.head).seq
        const answer = yield* Effect.result(
          open.append(cortexDraft(event), { decisions: { ledger, mirror } })
        )
        const after = [snapshot(directory), tables(at.mirror)]
        const head = yield* open.head
        if (Result.isSuccess(answer)) yield* assertSound(open)
        return { answer, head, rows: head.seq - seq, unchanged: String(before) === String(after) }
      })
    )
  })

  const prepare = (directory: string, before: ReadonlyArray<string>) =>
    using({ file: paths(directory).file }, (open) =>
      Effect.forEach(before, (event) => open.append(cortexDraft(event), { decisions: allowAll }))
    )

  for (const each of gateCases.filter(({ beforeStore }) => beforeStore === null)) {
    it.effect(`are judged as the original judges them: ${each.name}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        if (each.before.length > 0) yield* prepare(directory, each.before)
        const { answer, head, rows, unchanged } = yield* run(directory, each)
        const { ok, error } = each.expect
        assert.strictEqual(Result.isSuccess(answer), ok, error)
        assert.strictEqual(rows, ok ? 1 : 0)
        assert.strictEqual(unchanged, !ok)
        if (ok) assert.strictEqual(head.eventHash, each.expect.head)
        if (Result.isFailure(answer)) {
          assertLike(answer.failure, refusalOf(error ?? ""), error)
        }
      })
    )
  }

  const byName = (name: string): GateCase => {
    const found = gateCases.find((each) => each.name === name)
    if (found === undefined) throw new Error(`no case ${name}`)
    return found
  }

  // The original refuses an id that SQL has, whatever its content; the same event is answered here.
  for (const name of ["duplicate-id", "duplicate-id-and-ledger-refused"]) {
    it.effect(`answer the same event again, where the original refuses: ${name}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const each = byName(`mirror_append/${name}`)
        yield* prepare(directory, each.before)
        const { answer, rows, unchanged } = yield* run(directory, each)
        assertLike(Result.getOrThrow(answer), { _tag: "AlreadyAppended", seq: 1 })
        assert.deepStrictEqual([rows, unchanged], [0, true])
        const other = each.event.replace('"set":"d"', '"set":"e"')
        const refused = yield* run(directory, { ...each, event: other })
        assertLike(failureOf(refused.answer), { _tag: "IdConflict", seq: 1, differs: ["payload"] })
        assert.deepStrictEqual([refused.rows, refused.unchanged], [0, true])
      })
    )
  }

  it.effect("never append an id a second time that the file has and SQL had not", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const each = byName("mirror_append/id-only-in-jsonl")
      yield* prepare(directory, each.before)
      for (const suffix of ["", "-wal", "-shm"]) {
        fs.rmSync(`${paths(directory).mirror}${suffix}`, { force: true })
      }
      const { answer, rows } = yield* run(directory, each)
      assert.strictEqual(Result.getOrThrow(answer)._tag, "AlreadyAppended")
      assert.strictEqual(rows, 0)
    })
  )

  for (const name of ["id-only-in-sqlite", "event-hash-already-in-sqlite"]) {
    it.effect(`write nothing where SQL has a row that the file has not: ${name}`, () =>
      Effect.gen(function* () {
        const [directory, elsewhere] = [yield* TestLedger.directory, yield* TestLedger.directory]
        const each = byName(`mirror_append/${name}`)
        yield* prepare(elsewhere, each.before)
        yield* prepare(directory, [])
        meddle(
          paths(directory).mirror,
          `ATTACH '${paths(elsewhere).mirror}' AS other`,
          "INSERT INTO main.events SELECT * FROM other.events"
        )
        const { answer, rows } = yield* run(directory, each)
        assert.isTrue(Result.isFailure(answer))
        assert.strictEqual(rows, 0)
      })
    )
  }
})

describe("the built-in votes", () => {
  it.effect("refuse a user's event, as nothing attests it", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const draft = named("a", { source: { type: "user" } })
          const error = yield* Effect.flip(ledger.appendAll([named("b"), draft]))
          assertLike(error, {
            _tag: "PolicyRefused",
            index: 1,
            surface: "ledger.append",
            reason: "attestation"
          })
          assert.strictEqual((yield* ledger.head).seq, 0)
        })
      )
    })
  )

  it.effect("give way to a rule of the same id", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const attested = PolicyGate.rule({ id: Policy.Rules.attestationRequired }, (draft) =>
        Effect.succeed(
          draft.sessionId === "attested" ? Policy.allow("it is") : Policy.warn("it is not")
        )
      )
      yield* using({ directory, rules: [attested] }, (ledger) =>
        Effect.gen(function* () {
          const source = { type: "user" as const }
          yield* ledger.append(named("a", { source, sessionId: "attested" }))
          const error = yield* Effect.flip(ledger.append(named("b", { source })))
          assertLike(error, { _tag: "PolicyRefused", reason: "attestation" })
          yield* ledger.append(named("c"))
        })
      )
    })
  )

  it.effect("reject from evidence when the mirror lost a row behind the writer's back", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const mirror = path.join(directory, "mirror.sqlite")
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.appendAll([named("a"), named("b")])
          for (const lost of ["sealog_index WHERE seq = 2", "events WHERE rowid = 3"]) {
            meddle(mirror, `DELETE FROM ${lost}`)
            const before = [snapshot(directory), tables(mirror)]
            const error = yield* Effect.flip(ledger.append(named("c")))
            assertLike(error, {
              _tag: "PolicyRefused",
              surface: "mirror.append",
              reason: "blocked",
              ruleId: Policy.Rules.parityInvariant
            })
            assert.deepStrictEqual([snapshot(directory), tables(mirror)], before)
            yield* ledger.replay
            yield* ledger.append(named(`after ${lost}`))
            yield* assertSound(ledger)
          }
        })
      )
    })
  )
})

const votes = (outcome: Outcome, overridable = false) => {
  const id = `test.${outcome}${overridable ? ".overridable" : ""}`
  return PolicyGate.rule({ id, overridable }, () => Effect.succeed({ outcome, reason: "always" }))
}

describe("rule", () => {
  for (const outcome of Policy.Outcome.literals) {
    const opens = outcome === "allow" || outcome === "warn" || outcome === "break_glass"
    it.effect(`with the outcome ${outcome} ${opens ? "lets pass" : "refuses"}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        yield* using({ directory, rules: [votes("warn"), votes(outcome, true)] }, (ledger) =>
          Effect.gen(function* () {
            const answer = yield* Effect.result(ledger.append(named("a")))
            assert.strictEqual(Result.isSuccess(answer), opens)
            if (Result.isFailure(answer)) {
              assertLike(answer.failure, {
                _tag: "PolicyRefused",
                reason: "blocked",
                ruleId: `test.${outcome}.overridable`
              })
            }
            assert.strictEqual((yield* ledger.head).seq, opens ? 1 : 0)
          })
        )
      })
    )
  }

  it.effect("sees the complete draft and votes on its types only", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const seen: Array<unknown> = []
      const rule = PolicyGate.rule({ id: "test.types", types: ["test.named.v1"] }, (draft) =>
        Effect.sync(() => {
          seen.push([draft.id, draft.recordedAt, draft.source, draft.payload, draft.keys])
          return Policy.reject("never")
        })
      )
      yield* using({ directory, rules: [rule] }, (ledger) =>
        Effect.gen(function* () {
          yield* TestClock.setTime(1_500)
          yield* ledger.append(named("a", { type: "test.other.v1" }))
          const draft = named("b")
          yield* Effect.flip(ledger.append(draft))
          const at = "1970-01-01T00:00:01.500Z"
          assert.deepStrictEqual(seen, [
            [draft.id, at, { type: "runtime" }, { name: "b" }, undefined]
          ])
        })
      )
    })
  )

  const dying: ReadonlyArray<readonly [string, () => Effect.Effect<Vote>]> = [
    ["dies", () => Effect.die(new Error("broken"))],
    [
      "throws",
      () => {
        throw new Error("broken")
      }
    ],
    ["interrupts itself", () => Effect.interrupt],
    ["casts a vote without a reason", () => Effect.succeed(Policy.allow(" "))]
  ]

  for (const [name, on] of dying) {
    for (const kind of ["rule", "gate"] as const) {
      it.effect(`rejects when the ${kind} ${name}, and disturbs nobody else`, () =>
        Effect.gen(function* () {
          const directory = yield* TestLedger.directory
          const options = { id: "test.broken", types: ["test.broken.v1"] }
          const rule = PolicyGate[kind](options, on)
          yield* using({ directory, rules: [rule] }, (ledger) =>
            Effect.gen(function* () {
              const [first, refused, last] = yield* Effect.all(
                [
                  Effect.exit(ledger.append(named("a"))),
                  Effect.exit(ledger.append(named("b", { type: "test.broken.v1" }))),
                  Effect.exit(ledger.append(named("c")))
                ],
                { concurrency: "unbounded" }
              )
              assert.isTrue(Exit.isSuccess(first))
              assert.isTrue(Exit.isSuccess(last))
              const error = Exit.isFailure(refused) ? Cause.squash(refused.cause) : undefined
              assert.instanceOf(error, Policy.PolicyRefused, String(error))
              assertLike(error, { reason: "blocked", ruleId: "test.broken" })
              yield* ledger.append(named("d"))
              yield* assertSound(ledger)
            })
          )
        })
      )
    }
  }

  it.effect("refuses before the queue, without waiting for the writer", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const disk = yield* faults.make
      const gone = yield* Deferred.make<void>()
      const rule = PolicyGate.rule({ id: "test.never", types: ["test.never.v1"] }, () =>
        Effect.succeed(Policy.reject("never"))
      )
      yield* faults.using({ directory, disk, rules: [rule] }, (ledger) =>
        Effect.gen(function* () {
          disk.fail({ operation: "sync", path: ".jsonl", until: Deferred.await(gone) })
          const held = yield* Effect.forkChild(ledger.append(named("a")))
          const error = yield* Effect.flip(ledger.append(named("b", { type: "test.never.v1" })))
          assert.strictEqual(error._tag, "PolicyRefused")
          yield* Deferred.succeed(gone, undefined)
          assert.strictEqual((yield* Fiber.join(held)).seq, 1)
        })
      )
    })
  )

  it.effect("asks for its services through the layer", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const limit = PolicyGate.rule(
        { id: "test.limit" },
        Effect.fnUntraced(function* (draft: PolicyGate.RuleDraft) {
          const { max } = yield* Limits
          return Number(draft.payload) > max
            ? Policy.reject(`above ${max}`)
            : Policy.allow("within")
        })
      )
      const sealed = PolicyGate.gate(
        { id: "test.sealed" },
        Effect.fnUntraced(function* (_draft: PolicyGate.RuleDraft, sql: SqlClient.SqlClient) {
          const { rows } = yield* Limits
          const [row] = yield* sql<{ n: number }>`SELECT count(*) AS n FROM events`
          return (row?.n ?? 0) >= rows ? Policy.reject("it is full") : Policy.allow("there is room")
        })
      )
      const layer = TestLedger.layer({ directory, rules: [limit, sealed] }).pipe(
        Layer.provide(Layer.succeed(Limits, { max: 10, rows: 2 }))
      )
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger
        const append = (payload: number) => Effect.result(ledger.append({ type: "n.v1", payload }))
        const answers = yield* Effect.forEach([11, 10, 3, 1], append)
        assert.deepStrictEqual(answers.map(isSuccess), [false, true, true, false])
      }).pipe(Effect.provide(layer))
    })
  )

  it.effect("of an id that another rule has stops the ledger from opening", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const rules = [votes("allow"), votes("allow")]
      const exit = yield* Effect.exit(using({ directory, rules }, () => Effect.void))
      assert.instanceOf(Exit.isFailure(exit) && Cause.squash(exit.cause), RangeError)
      assert.deepStrictEqual(
        fs.readdirSync(directory).filter((name) => name === "ledger.json"),
        []
      )
    })
  )
})

class Limits extends Context.Service<Limits, { readonly max: number; readonly rows: number }>()(
  "test/Limits"
) {}

describe("gate", () => {
  /** At most `seats` rows of one type; tells how many it saw each time. */
  const seats = (max: number, saw: Array<number> = []) =>
    PolicyGate.gate({ id: "test.seats", types: ["seat.taken.v1"] }, (_draft, sql) =>
      Effect.map(
        sql<{ n: number }>`SELECT count(*) AS n FROM events WHERE event_type = 'seat.taken.v1'`,
        ([row]) => {
          saw.push(row?.n ?? -1)
          return (row?.n ?? 0) < max ? Policy.allow("a seat is free") : Policy.reject("all taken")
        }
      )
    )

  const seat = (n: number) => named(`seat ${n}`, { type: "seat.taken.v1" })

  it.effect("never lets two appends pass on the same state", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory, rules: [seats(5)] }, (ledger) =>
        Effect.gen(function* () {
          const drafts = Array.from({ length: 20 }, (_, n) =>
            n % 4 === 3 ? named(`other ${n}`) : seat(n)
          )
          const answers = yield* Effect.forEach(
            drafts,
            (draft) => Effect.result(ledger.append(draft)),
            { concurrency: "unbounded" }
          )
          const passed = drafts.filter((_, n) => answers[n]?._tag === "Success")
          assert.strictEqual(passed.filter(({ type }) => type === "seat.taken.v1").length, 5)
          assert.strictEqual(passed.filter(({ type }) => type !== "seat.taken.v1").length, 5)
          for (const answer of answers) {
            if (Result.isFailure(answer)) {
              assertLike(answer.failure, { _tag: "PolicyRefused", reason: "blocked" })
            }
          }
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("sees the earlier rows of its own appendAll, and takes them back with it", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const saw: Array<number> = []
      yield* using({ directory, rules: [seats(3, saw)] }, (ledger) =>
        Effect.gen(function* () {
          const before = [snapshot(directory), tables(path.join(directory, "mirror.sqlite"))]
          const error = yield* Effect.flip(ledger.appendAll([1, 2, 3, 4].map(seat)))
          assertLike(error, { _tag: "PolicyRefused", index: 3, ruleId: "test.seats" })
          assert.deepStrictEqual(saw, [0, 1, 2, 3])
          assert.deepStrictEqual(
            [snapshot(directory), tables(path.join(directory, "mirror.sqlite"))],
            before
          )
          yield* ledger.appendAll([1, 2, 3].map(seat))
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("whose refusal has rows in SQL disturbs nobody else of its group", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory, rules: [seats(4)] }, (ledger) =>
        Effect.gen(function* () {
          const answers = yield* Effect.all(
            [
              Effect.result(ledger.appendAll([seat(1), named("a")])),
              Effect.result(ledger.appendAll([named("b"), seat(2), seat(3), seat(4), seat(5)])),
              Effect.result(ledger.appendAll([seat(6), seat(7)])),
              Effect.result(ledger.appendAll([seat(8), seat(9)])),
              Effect.result(ledger.append(seat(10)))
            ],
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(answers.map(isSuccess), [true, false, true, false, true])
          const lines = yield* Effect.map(ledger.head, ({ seq }) => seq)
          assert.strictEqual(lines, 5)
          assert.deepStrictEqual(
            query(
              path.join(directory, "mirror.sqlite"),
              "SELECT id FROM events ORDER BY rowid"
            ).map((row) => row["id"]),
            [seat(1), named("a"), seat(6), seat(7), seat(10)].map(({ id }) => id)
          )
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("whose SQL is wrong refuses its own append alone", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const broken = PolicyGate.gate({ id: "test.sql", types: ["test.sql.v1"] }, (_draft, sql) =>
        Effect.as(sql`SELECT * FROM no_such_table`, Policy.allow("never said"))
      )
      yield* using({ directory, rules: [broken] }, (ledger) =>
        Effect.gen(function* () {
          const answers = yield* Effect.all(
            [
              Effect.result(ledger.append(named("a"))),
              Effect.result(ledger.appendAll([named("b"), named("c", { type: "test.sql.v1" })])),
              Effect.result(ledger.append(named("d")))
            ],
            { concurrency: "unbounded" }
          )
          const [, failed] = answers
          assert.deepStrictEqual(answers.map(isSuccess), [true, false, true])
          const refusal = failureOf(failed)
          assertLike(refusal, { _tag: "PolicyRefused", ruleId: "test.sql" })
          assert.include(String(refusal), "no such table: no_such_table")
          assert.strictEqual((yield* ledger.head).seq, 2)
          yield* assertSound(ledger)
        })
      )
    })
  )
})

describe("break-glass", () => {
  const authorization: BreakGlass = {
    permitted: true,
    attested: true,
    scope: {
      operationType: "ledger.append",
      artifactRefs: ["evt"],
      notBefore: null,
      notAfter: null
    },
    reasonCode: "incident_response"
  }
  const scoped = (scope: Partial<BreakGlass["scope"]>): BreakGlass => ({
    ...authorization,
    scope: { ...authorization.scope, ...scope }
  })
  const overridable = [votes("reject", true), votes("quarantine", true), votes("break_glass")]

  const cases: ReadonlyArray<
    readonly [string, boolean, BreakGlass | undefined, ReadonlyArray<PolicyGate.Rule>]
  > = [
    ["with a bound, permitted, attested authorization", true, authorization, overridable],
    ["without authorization", false, undefined, overridable],
    ["where it is not permitted", false, { ...authorization, permitted: false }, overridable],
    ["where it is not attested", false, { ...authorization, attested: false }, overridable],
    ["where it is bound to nothing", false, scoped({ artifactRefs: [] }), overridable],
    ["where it is bound to no operation", false, scoped({ operationType: " " }), overridable],
    ["where no rule votes for it", false, authorization, [votes("reject", true)]],
    ["where one blocking rule forbids it", false, authorization, [...overridable, votes("reject")]]
  ]

  for (const [name, passes, breakGlass, rules] of cases) {
    for (const kind of ["rules", "rules and gates"] as const) {
      it.effect(`${passes ? "passes" : "does not pass"} ${name}, by ${kind}`, () =>
        Effect.gen(function* () {
          const directory = yield* TestLedger.directory
          const open = PolicyGate.gate({ id: "test.gate" }, () =>
            Effect.succeed(Policy.allow("open"))
          )
          const all = kind === "rules" ? rules : [...rules, open]
          yield* using({ directory, rules: all }, (ledger) =>
            Effect.gen(function* () {
              const answer = yield* Effect.result(ledger.append(named("a"), { breakGlass }))
              assert.strictEqual(Result.isSuccess(answer), passes)
              assert.strictEqual((yield* ledger.head).seq, passes ? 1 : 0)
            })
          )
        })
      )
    }
  }

  it.effect("counts within its time only, by Effect's clock", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const breakGlass = scoped({
        notBefore: "1970-01-01T01:00:10+01:00",
        notAfter: "1970-01-01T00:00:20Z"
      })
      yield* using({ directory, rules: overridable }, (ledger) =>
        Effect.gen(function* () {
          const passes: Array<number> = []
          for (let second = 8; second < 23; second++) {
            yield* TestClock.setTime(second * 1_000)
            const answer = yield* Effect.result(ledger.append(named(`${second}`), { breakGlass }))
            if (Result.isSuccess(answer)) passes.push(second)
          }
          assert.deepStrictEqual(passes, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
        })
      )
    })
  )

  it.effect("names an authorization that cannot be read, instead of leaving it out", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory, rules: overridable }, (ledger) =>
        Effect.gen(function* () {
          const breakGlass = scoped({ notAfter: "tomorrow" })
          const error = yield* Effect.flip(ledger.append(named("a"), { breakGlass }))
          assertLike(error, { _tag: "DraftInvalid", path: "/breakGlass" })
        })
      )
    })
  )
})
