/**
 * What a control plane writes down, what it derives from that, and what it refuses.
 *
 * Seven kinds of event are everything there is: whatever else the control plane knows is a view of
 * them, folded in the transaction of the append, so that the gate never decides on an old state.
 */
import { Effect, Schema } from "effect"
import type { SqlClient } from "effect/sql"
import { Event, Policy, PolicyGate, View } from "../../src/index.ts"

const Maybe = Schema.NullOr(Schema.String)

/** What the log is queried by. A manifest poll is about no host; a plan is the control plane's. */
const keys = ({
  host_id,
  rollout_id
}: {
  readonly host_id?: string | null
  readonly rollout_id?: string | null
}): Event.Keys => ({
  ...(typeof host_id === "string" ? { host_id } : {}),
  ...(typeof rollout_id === "string" ? { rollout_id } : {})
})

const DispatchAck = Schema.Struct({ kind: Schema.Literal("DispatchAck") })
const ProbeResult = Schema.Struct({
  kind: Schema.Literal("ProbeResult"),
  mode: Schema.Literals(["enforce", "observe"]),
  probe: Schema.String,
  results: Schema.Array(
    Schema.Struct({
      control_id: Schema.String,
      framework: Schema.String,
      status: Schema.Literals(["Pass", "Fail"])
    })
  )
})

/** An agent reports; `observedAt` of its event is the agent's own time. */
export const AgentEvent = Event.define(
  "fleet.agent_event.v1",
  Schema.Struct({
    host_id: Schema.String,
    rollout_id: Maybe,
    report: Schema.Union([DispatchAck, ProbeResult])
  }),
  { keys }
)
/** What the planner decided to do next. */
export const PlanAction = Event.define(
  "fleet.plan_action.v1",
  Schema.Struct({
    host_id: Maybe,
    rollout_id: Schema.String,
    action: Schema.Literals(["dispatch", "promote_wave"]),
    wave: Schema.Int
  }),
  { keys }
)
/** What a reducer, here or on a host, had done. */
export const EffectDone = Event.define(
  "fleet.effect.v1",
  Schema.Struct({ host_id: Maybe, rollout_id: Maybe, effect: Schema.String }),
  { keys }
)
/** What a gate said, its refusals too. */
export const GateDecision = Event.define(
  "fleet.gate_decision.v1",
  Schema.Struct({
    rollout_id: Schema.String,
    gate: Schema.String,
    allowed: Schema.Boolean,
    reason: Schema.String
  }),
  { keys }
)
/** Whether a signature held. */
export const VerifyOutcome = Event.define(
  "fleet.verify_outcome.v1",
  Schema.Struct({
    subject: Schema.Literals(["manifest", "revocations", "bootstrap_nonces"]),
    holds: Schema.Boolean
  })
)
/** What a poll of a channel found. */
export const ManifestPoll = Event.define(
  "fleet.manifest_poll.v1",
  Schema.Struct({ channel: Schema.String, outcome: Schema.String })
)
/** A rollout came into another state. */
export const RolloutEvent = Event.define(
  "fleet.rollout_event.v1",
  Schema.Struct({ rollout_id: Schema.String, state: Schema.String }),
  { keys }
)

/** Handed to the ledger too: what is none of these, or does not fit, is refused. */
export const kinds = [
  AgentEvent,
  PlanAction,
  EffectDone,
  GateDecision,
  VerifyOutcome,
  ManifestPoll,
  RolloutEvent
]

/** A row for each result of an enforced probe that failed. Rows are only ever added. */
export const probeFailures = View.perEvent({
  name: "probe_failures",
  version: 1,
  kinds: [AgentEvent],
  row: Schema.Struct({
    rollout_id: Maybe,
    host_id: Schema.String,
    probe_name: Schema.String,
    control_id: Schema.String,
    framework: Schema.String,
    observed_at: Schema.String
  }),
  columns: {
    rollout_id: "TEXT",
    host_id: "TEXT NOT NULL",
    probe_name: "TEXT NOT NULL",
    control_id: "TEXT NOT NULL",
    framework: "TEXT NOT NULL",
    observed_at: "TEXT NOT NULL"
  },
  indexes: [["rollout_id", "host_id", "control_id"]],
  rowsOf: ({ event, payload: { host_id, report, rollout_id } }) =>
    report.kind !== "ProbeResult" || report.mode !== "enforce"
      ? []
      : report.results
          .filter(({ status }) => status === "Fail")
          .map(({ control_id, framework }) => ({
            rollout_id,
            host_id,
            probe_name: report.probe,
            control_id,
            framework,
            observed_at: event.observedAt
          }))
})

/** The newest run of each enforced probe in a rollout; its `seq` is that of the run. */
export const latestProbes = View.make({
  name: "latest_probes",
  version: 1,
  kinds: [AgentEvent],
  row: Schema.Struct({
    rollout_id: Schema.String,
    host_id: Schema.String,
    probe_name: Schema.String,
    failures: Schema.Int
  }),
  columns: {
    rollout_id: "TEXT NOT NULL",
    host_id: "TEXT NOT NULL",
    probe_name: "TEXT NOT NULL",
    failures: "INTEGER NOT NULL"
  },
  key: ["rollout_id", "host_id", "probe_name"],
  keysOf: ({ payload: { host_id, report, rollout_id } }) =>
    report.kind === "ProbeResult" && report.mode === "enforce" && rollout_id !== null
      ? [{ rollout_id, host_id, probe_name: report.probe }]
      : [],
  fold: (_before, { payload: { report } }, key) => ({
    ...key,
    failures:
      report.kind === "ProbeResult"
        ? report.results.filter(({ status }) => status === "Fail").length
        : 0
  })
})

export const views = [probeFailures, latestProbes]

/** A failure is open until its probe has run again: both views of one transaction say so. */
export const openFailures = (sql: SqlClient.SqlClient, rolloutId: string) =>
  sql<{ readonly host_id: string; readonly control_id: string }>`
    SELECT f.host_id, f.control_id FROM probe_failures f
      JOIN latest_probes l USING (rollout_id, host_id, probe_name, seq)
      WHERE f.rollout_id = ${rolloutId} ORDER BY f.host_id, f.control_id`

/** No wave is promoted over an open failure. Asked in the transaction that would write the plan. */
export const complianceGate = PolicyGate.gate(
  { id: "compliance", kinds: [PlanAction], views },
  ({ payload: { action, rollout_id } }, sql) =>
    action !== "promote_wave"
      ? Effect.succeed(Policy.allow("promotes no wave"))
      : Effect.map(openFailures(sql, rollout_id), (open) =>
          open.length === 0
            ? Policy.allow("no probe failure is open")
            : Policy.reject(
                `open: ${open.map(({ control_id, host_id }) => `${control_id} on ${host_id}`).join(", ")}`
              )
        )
)
