/**
 * `sealog repair DIR` and `sealog rebuild DIR`: past a refusal, and the mirror made anew.
 *
 * A repair shows its plan and does nothing more, exit code 1, unless `--yes` is given; then it carries
 * out that plan under the ledger's guard. What it sets aside is kept, and its paths are printed. A
 * rebuild opens the ledger; one that does not open wants a repair.
 */
import { Effect, Option, Result } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as Attestation from "../core/Attestation.ts"
import type { Operation } from "../core/Operation.ts"
import * as SealogNode from "../platform/SealogNode.ts"
import type { RepairPlan } from "../store/upkeep/Diagnosis.ts"
import { Ending, found, plain } from "./Ending.ts"
import * as Flags from "./flags.ts"
import * as json from "./json.ts"
import * as Opening from "./opening.ts"
import { Output } from "./Output.ts"
import * as Target from "./Target.ts"

const config = {
  directory: Argument.String("DIR").pipe(Argument.withDescription("The ledger")),
  operator: Flag.String("operator").pipe(Flag.withDescription("Who asks for it; it is kept")),
  reason: Flag.String("reason").pipe(Flag.withDescription("Why; it is kept")),
  json: Flags.json
}

const kept = ({ cut, id }: Operation): ReadonlyArray<string> => [
  `operation ${id}`,
  ...cut.map(({ path }) => `kept ${path}`)
]

const show = Effect.fnUntraced(function* (
  plan: RepairPlan,
  operation: Operation | undefined,
  asJson: boolean
) {
  const output = yield* Output
  if (asJson) {
    return yield* output.json({
      plan: json.repairPlan(plan),
      operation: operation === undefined ? null : json.operation(operation)
    })
  }
  const lines = operation === undefined ? [] : kept(operation)
  yield* Effect.forEach([plan.message, ...lines], (text) => output.line(plain(text)), {
    discard: true
  })
})

export const command = Command.make(
  "repair",
  {
    ...config,
    publicKey: Flag.String("public-key").pipe(
      Flag.withMetavar("HEX"),
      Flag.withDescription("Of a signed ledger: the key of its first signed row"),
      Flag.optional
    ),
    yes: Flags.on("yes", "Carry out the plan that is shown")
  },
  Effect.fnUntraced(function* ({ directory, operator, reason, yes, ...input }) {
    const output = yield* Output
    yield* Target.ledger(directory)
    const publicKey = Option.getOrUndefined(input.publicKey)
    if (publicKey !== undefined) {
      const key = Attestation.genesis(publicKey)
      if (Result.isFailure(key)) {
        return yield* new Ending({ code: 2, text: key.failure.message })
      }
    }
    const plan = yield* SealogNode.diagnose({ directory, publicKey })
    if (!plan.hasSteps || !yes) {
      yield* show(plan, undefined, input.json)
      if (!plan.hasSteps) return
      yield* output.note("sealog: nothing was changed; add --yes to carry this out")
      return yield* plan.isNeeded ? found : Effect.void
    }
    const operation = yield* SealogNode.repair(plan, { operator, reason }, { publicKey })
    yield* show(plan, operation, input.json)
  })
).pipe(
  Command.withDescription(
    "Say why a ledger does not open, and what a repair would set aside; with --yes do just that. " +
      "All of it is kept in the ledger's operations/. Exit code 0: repaired, or nothing to repair; " +
      "1: the plan was shown; 2: it could not run."
  ),
  Command.withShortDescription("Go past a refusal, by a plan that is shown first")
)

export const rebuild = Command.make(
  "rebuild",
  config,
  Effect.fnUntraced(function* ({ directory, operator, reason, ...input }) {
    const output = yield* Output
    const operation = yield* Opening.writing(directory, (ledger) =>
      ledger.rebuild({ operator, reason })
    )
    const { counts, id } = operation
    yield* input.json
      ? output.json(json.operation(operation))
      : output.line(`made the mirror anew from ${counts["rows"] ?? 0} rows; operation ${id}`)
  })
).pipe(
  Command.withDescription(
    "Make index and mirror of a ledger anew from its journal alone, in one transaction. Exit code 1: " +
      "the journal is damaged, and nothing was changed."
  ),
  Command.withShortDescription("Make the mirror anew from the journal")
)
