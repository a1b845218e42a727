/**
 * Rebuild: index and mirror made anew from the journal alone, in one transaction.
 *
 * Every row is read, its seal and links checked, and put into emptied tables, some at a time, then
 * into the views; readers see what was there before until the commit, and a crash leaves it so. A
 * journal that does not hold together, or does not end where the writer stands, ends it with nothing
 * changed.
 */
import { Effect } from "effect"
import type { Head } from "../../core/Chain.ts"
import { ChainBroken } from "../../core/Chain.ts"
import type * as Merkle from "../../core/Merkle.ts"
import type * as Signing from "../../core/Signing.ts"
import type { MirrorError } from "../errors.ts"
import { mirrorError } from "../errors.ts"
import type * as Mirror from "./Mirror.ts"
import * as MirrorCut from "./MirrorCut.ts"
import * as MirrorSigning from "./MirrorSigning.ts"
import * as MirrorTree from "./MirrorTree.ts"
import { Progress } from "../Progress.ts"
import { transacting } from "./transacting.ts"
import * as Replay from "./Replay.ts"
import type { Ground } from "../upkeep/Rollback.ts"
import type { ViewKeeper } from "../views/ViewKeeper.ts"
import * as ViewState from "../views/viewState.ts"

/** Why nothing was made anew. */
export type RebuildError = Replay.WalkError | Mirror.RowDiffers | Mirror.IdConflict | MirrorError

/** Make the mirror anew up to `head`, behind which the signatures stand so; the tree over its rows. */
export const rebuild = Effect.fnUntraced(function* (
  { hashes, journal, sql }: Ground,
  head: Head,
  state: Signing.State,
  views: ViewKeeper
): Effect.fn.Return<Merkle.Tree | undefined, RebuildError> {
  const tell = yield* Progress
  const change = Effect.gen(function* () {
    yield* ViewState.cut(sql, 0)
    for (const table of ["events", "sealog_keys", "sealog_index", "sealog_times", "sealog_state"]) {
      yield* sql`DELETE FROM ${sql(table)}`
    }
    const take = Effect.fnUntraced(function* (rows: ReadonlyArray<Replay.Placed>) {
      yield* Replay.replayBatch(sql, journal, hashes, rows)
      const done = rows.at(-1)?.event.seq ?? 0
      yield* tell({ task: "rebuild", done, total: head.seq, unit: "rows" })
    })
    const end = yield* Replay.walk(journal, hashes, Replay.beginning, head.seq, take)
    if (end.seq === head.seq && end.leafHash === head.leafHash) {
      yield* MirrorSigning.store(sql, head.seq, state)
      yield* views.catchUp(head.seq)
      return yield* MirrorTree.stored(sql)
    }
    return yield* new ChainBroken({
      seq: end.seq,
      id: end.id ?? "",
      link: "prev_line_hash",
      expected: `row ${head.seq} of leaf hash ${head.leafHash}`,
      actual: `row ${end.seq} of leaf hash ${end.leafHash}`
    })
  })
  return yield* MirrorCut.removing(sql, transacting(sql)(change)).pipe(
    // What it made of the views went with the transaction.
    Effect.onError(() => Effect.ignore(views.reload)),
    Effect.catchTag("SqlError", (error) => Effect.fail(mirrorError("be made anew")(error)))
  )
})
