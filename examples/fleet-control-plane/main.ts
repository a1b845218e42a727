/**
 * A control plane whose only memory is its log: seven kinds of event, views derived from them, and a
 * gate that asks the views inside the transaction of the append.
 *
 *   node examples/fleet-control-plane/main.ts
 *
 * `fleet.ts` declares kinds, views and gate; here they are used. Every step checks what it shows. Exit
 * code 0: all of it was so. 1: something was not.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Clock, Console, Data, Effect, FileSystem, Result, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { Ledger, Progress, Timestamp, View, Views } from "../../src/index.ts"
import { SealogNode, SqliteClient } from "../../src/platform/index.ts"
import * as Fleet from "./fleet.ts"

/** What this example shows did not hold. */
class NotSo extends Data.TaggedError("NotSo")<{ message: string }> {}

const claim = (holds: boolean, otherwise: string) =>
  holds ? Effect.void : Effect.fail(new NotSo({ message: otherwise }))

const title = (text: string) => Console.log(`\n${text}`)
const say = (text: string) => Console.log(`   ${text}`)
const seqs = (rows: ReadonlyArray<{ readonly seq: number }>) => rows.map(({ seq }) => seq).join(" ")

/** An agent's report of an enforced probe, with the time at which the agent saw it. */
const probed = (
  rollout_id: string,
  host_id: string,
  statuses: { readonly [control: string]: "Pass" | "Fail" }
) =>
  Effect.map(Clock.currentTimeMillis, (now) =>
    Fleet.AgentEvent.make(
      {
        host_id,
        rollout_id,
        report: {
          kind: "ProbeResult",
          mode: "enforce",
          probe: "disk_encryption",
          results: Object.entries(statuses).map(([control_id, status]) => ({
            control_id,
            framework: "SOC2",
            status
          }))
        }
      },
      { observedAt: Timestamp.fromMillis(now - 2_000) }
    )
  )

const plan = (rollout_id: string, action: "dispatch" | "promote_wave", wave: number) =>
  Fleet.PlanAction.make({ host_id: null, rollout_id, action, wave })

/** One of each kind, and then what is none of them. */
const writeDown = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  yield* title("1. Seven kinds of event, one log")
  yield* ledger.appendAll([
    Fleet.ManifestPoll.make({ channel: "stable", outcome: "200" }),
    Fleet.VerifyOutcome.make({ subject: "manifest", holds: true }),
    Fleet.RolloutEvent.make({ rollout_id: "r1", state: "planned" }),
    plan("r1", "dispatch", 1),
    Fleet.EffectDone.make({ host_id: "web-1", rollout_id: "r1", effect: "switch" }),
    Fleet.AgentEvent.make({ host_id: "web-1", rollout_id: "r1", report: { kind: "DispatchAck" } })
  ])
  yield* ledger.append(yield* probed("r1", "web-1", { "CC6.1": "Fail", "CC6.7": "Pass" }))
  yield* ledger.append(yield* probed("r1", "web-2", { "CC6.1": "Pass", "CC6.7": "Pass" }))
  const { seq } = yield* ledger.head
  yield* say(`head: row ${seq}`)
  // As they would come from the network, where no compiler has looked at them.
  const report = { kind: "ProbeResult", mode: "enforce", probe: "disk", results: "none" }
  for (const draft of [
    { type: "fleet.reboot.v1", payload: { host_id: "web-1" } },
    {
      type: Fleet.PlanAction.type,
      payload: { host_id: null, rollout_id: "r1", action: "dispatch" }
    },
    { type: Fleet.AgentEvent.type, payload: { host_id: "web-1", rollout_id: "r1", report } }
  ]) {
    const refused = yield* Effect.flip(ledger.append(draft))
    if (refused._tag !== "DraftInvalid") return yield* claim(false, refused.message)
    yield* say(`refused: ${draft.type} at ${refused.path}`)
  }
  yield* claim((yield* ledger.head).seq === seq, "A refused event was written.")
})

/** Any query comes in the order of the log, page by page, and goes on from any row. */
const ask = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  yield* title("2. Asked by host, rollout and kind")
  const host = yield* Stream.runCollect(ledger.events({ keys: { host_id: "web-1" } }))
  yield* say(`host web-1: rows ${seqs(host)}`)
  const polls = yield* Stream.runCollect(ledger.events({ kinds: [Fleet.ManifestPoll] }))
  yield* say(`manifest polls: ${polls.map(({ payload }) => payload.channel).join(" ")}`)
  const keys = { rollout_id: "r1" }
  const first = yield* Stream.runCollect(ledger.events({ kinds: Fleet.kinds, keys, limit: 3 }))
  // The cursor is a position: it also says which history it is of.
  const after = first.at(-1)?.position
  const next = yield* Stream.runCollect(
    ledger.events({ kinds: Fleet.kinds, keys, limit: 3, after })
  )
  yield* say(`rollout r1, three at a time: rows ${seqs(first)}, then ${seqs(next)}`)
  yield* claim(seqs(host) === "5 6 7" && seqs(first) === "3 4 5", "A query missed rows.")
  yield* claim(seqs(next) === "6 7 8", "The cursor does not go on where it was.")
})

/** Promote the next wave. What the gate says is written down, a refusal as well. */
const promote = Effect.fn("promote")(function* (rollout_id: string, wave: number) {
  const ledger = yield* Ledger.Ledger
  const done = yield* Effect.result(ledger.append(plan(rollout_id, "promote_wave", wave)))
  if (Result.isSuccess(done)) return { allowed: true, seq: done.success.seq, reason: "" }
  if (done.failure._tag !== "PolicyRefused") return yield* done.failure
  const { decision, ruleId } = done.failure
  const reason = decision.contributing[0]?.reason ?? ""
  const { seq } = yield* ledger.append(
    Fleet.GateDecision.make({ rollout_id, gate: ruleId ?? "", allowed: false, reason })
  )
  return { allowed: false, seq, reason }
})

/** A wave waits until what failed has passed. */
const gate = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  yield* title("3. A wave is not promoted over an open probe failure")
  const refused = yield* promote("r1", 2)
  yield* claim(!refused.allowed, "A wave was promoted over an open failure.")
  yield* say(`refused, told in row ${refused.seq}: ${refused.reason}`)
  yield* TestClock.adjust("42 seconds")
  const { seq } = yield* ledger.append(yield* probed("r1", "web-1", { "CC6.1": "Pass" }))
  yield* say(`web-1 is probed again in row ${seq}: Pass`)
  const passed = yield* promote("r1", 2)
  yield* claim(passed.allowed, "A wave waits for nothing.")
  yield* say(`promoted in row ${passed.seq}`)
  const [failure] = yield* ledger.query(
    (sql) => sql`SELECT probe_name, control_id, framework, host_id, observed_at FROM probe_failures`
  )
  yield* say(`on record: ${Object.values(failure ?? {}).join(", ")}`)
})

/** How many times a promotion and a failure of the same rollout are sent off at once. */
const rounds = 20

/** Whoever comes first, comes first for both: there is no state in between that both could pass on. */
const race = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  yield* title("4. Promotions and failures at once")
  const outcomes = yield* Effect.forEach(
    Array.from({ length: rounds }, (_, nth) => `race-${nth}`),
    (rollout, nth) =>
      Effect.gen(function* () {
        const failure = Effect.flatMap(probed(rollout, "web-9", { "CC6.1": "Fail" }), (draft) =>
          Effect.as(ledger.append(draft), true)
        )
        const promotion = Effect.map(promote(rollout, 2), ({ allowed }) => allowed)
        const both = nth % 2 === 0 ? [failure, promotion] : [promotion, failure]
        return (yield* Effect.all(both, { concurrency: "unbounded" })).every(Boolean)
      }),
    { concurrency: "unbounded" }
  )
  const before = outcomes.filter(Boolean).length
  yield* say(`promoted before the failure: ${before}, refused after it: ${rounds - before}`)
  // The log itself says whether that is true; the view's fold needs no SQL for it.
  const events = yield* Stream.runCollect(ledger.events())
  const plans = yield* Stream.runCollect(ledger.events({ kinds: [Fleet.PlanAction] }))
  for (const { payload, seq } of plans) {
    if (payload.action !== "promote_wave" || !payload.rollout_id.startsWith("race-")) continue
    const earlier = events.filter((event) => event.seq < seq)
    const failed = View.table(Fleet.probeFailures, earlier)
    const isOpen = failed.some(({ rollout_id }) => rollout_id === payload.rollout_id)
    yield* claim(!isOpen, `Row ${seq} promotes over an open failure.`)
  }
  yield* say("no promotion of the log lies behind a failure of its rollout")
})

const countFailures = (sql: SqlClient.SqlClient) =>
  Effect.map(sql<{ n: number }>`SELECT count(*) AS n FROM probe_failures`, ([row]) => row?.n ?? 0)

/** A view is what the log says, and nothing else: that can be checked, and made so again. */
const tamper = Effect.fn("tamper")(function* (mirror: string) {
  const ledger = yield* Ledger.Ledger
  const views = yield* Views.Views
  yield* title("5. Somebody deletes a failure in SQL, so that his wave is promoted")
  // A quiet night; with this many rows a rebuild has something to tell.
  const poll = Fleet.ManifestPoll.make({ channel: "stable", outcome: "304" })
  yield* ledger.appendAll(Array.from({ length: 400 }, () => poll))
  const there = yield* ledger.query(countFailures)
  yield* SqlClient.SqlClient.use(
    (sql) => sql`DELETE FROM probe_failures WHERE host_id = 'web-1'`
  ).pipe(Effect.provide(SqliteClient.layer({ filename: mirror })))
  const { differenceCount, differences, isDerived } = yield* views.check(Fleet.probeFailures)
  const missing = differences[0]?.expected
  yield* claim(!isDerived && differenceCount === 1, "The check has found nothing.")
  yield* say(`check: not derived, ${missing?.["control_id"]} on ${missing?.["host_id"]} is missing`)
  const told: Array<string> = []
  yield* views
    .rebuild(Fleet.probeFailures)
    .pipe(
      Effect.provideService(Progress.Progress, ({ done, task, total, unit }) =>
        Effect.sync(() => told.push(`${task}: ${done} of ${total} ${unit}`))
      )
    )
  yield* say(`made anew: ${told.join("; ")}`)
  yield* claim(told.length > 0, "The rebuild told nobody how far it was.")
  yield* claim((yield* ledger.query(countFailures)) === there, "The rebuild has lost rows.")
  for (const view of Fleet.views) {
    const report = yield* views.check(view)
    yield* claim(report.isDerived, `${view.name} is not what the log says.`)
    yield* say(`check: ${report.view} is derived, ${report.rows} rows`)
  }
})

/**
 * What is cut from the log is gone from the views, in the same transaction: rows that were only added
 * are cut too, a view whose rows change is emptied and filled again from the log.
 */
const goBack = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  const views = yield* Views.Views
  yield* title("6. Back to a checkpoint, and the views with it")
  const before = yield* ledger.checkpoint("before the probes of rollout r2")
  const there = yield* ledger.query(countFailures)
  yield* ledger.append(yield* probed("r2", "db-1", { "CC6.1": "Fail", "CC6.7": "Fail" }))
  const refused = yield* promote("r2", 2)
  yield* say(`refused: ${refused.reason}`)
  const by = { operator: "ada", reason: "the probe itself was broken" }
  const { cut, outcome } = yield* ledger.rollback(before, by)
  const rows = cut.reduce((sum, file) => sum + (file.rows ?? 0), 0)
  const left = yield* ledger.query(countFailures)
  yield* say(`rolled back (${outcome}): ${rows} rows cut and kept, ${left - there} failures left`)
  for (const view of Fleet.views) {
    const { isDerived } = yield* views.check(view)
    yield* claim(isDerived, `${view.name} still has what was cut.`)
  }
  const passed = yield* promote("r2", 2)
  yield* claim(!refused.allowed && passed.allowed && left === there, "The gate sees what was cut.")
  yield* say("promoted: the gate does not see what was cut")
  const report = yield* ledger.verify()
  yield* claim(report._tag === "Intact", "The log is not intact.")
  yield* say(`verified: ${report._tag}`)
})

const example = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const root = yield* fs.makeTempDirectoryScoped({ prefix: "sealog-fleet-control-plane-" })
  const directory = `${root}/log`
  // All times are the Clock's. Here it stands until it is moved, so this prints the same each time.
  yield* TestClock.setTime(Date.UTC(2026, 4, 16, 1))
  yield* Console.log("A fleet's control plane as a log")
  yield* Effect.gen(function* () {
    yield* writeDown
    yield* ask
    yield* gate
    yield* race
    yield* tamper(`${directory}/mirror.sqlite`)
    yield* goBack
  }).pipe(
    Effect.provide(
      SealogNode.layer({
        directory,
        kinds: Fleet.kinds,
        views: Fleet.views,
        rules: [Fleet.complianceGate]
      })
    )
  )
}).pipe(Effect.scoped, Effect.provide(TestClock.layer()))

NodeRuntime.runMain(Effect.provide(example, NodeServices.layer))
