/**
 * What `replay` and `parity` work on: a ledger, or two files that are none.
 *
 *   sealog parity DIR
 *   sealog parity --jsonl FILE --sqlite FILE [--public-key HEX]
 *
 * Both files must be there: neither command makes one. Parity opens the database for reading only.
 */
import { Effect, Layer, Option } from "effect"
import { Argument, Flag } from "effect/cli"
import { SqlClient } from "effect/sql"
import type { ParityReport } from "../core/Parity.ts"
import * as SealogNode from "../platform/SealogNode.ts"
import * as SqliteClient from "../platform/SqliteClient.ts"
import { MirrorError } from "../store/errors.ts"
import * as FilePair from "../store/mirror/FilePair.ts"
import { Ending } from "./Ending.ts"
import * as Flags from "./flags.ts"

export const config = {
  directory: Argument.String("DIR").pipe(Argument.withDescription("The ledger"), Argument.optional),
  jsonl: Flag.String("jsonl").pipe(
    Flag.withDescription("In place of DIR: the JSONL file"),
    Flag.withMetavar("FILE"),
    Flag.optional
  ),
  sqlite: Flag.String("sqlite").pipe(
    Flag.withDescription("In place of DIR: the SQLite database that has the table events"),
    Flag.withMetavar("FILE"),
    Flag.optional
  ),
  publicKey: Flag.String("public-key").pipe(
    Flag.withDescription("With --jsonl: the key of its first row; every row must be signed"),
    Flag.withMetavar("HEX"),
    Flag.optional
  ),
  json: Flags.json
}

/** What the command line named. */
export type Work =
  | { readonly _tag: "Ledger"; readonly directory: string }
  | {
      readonly _tag: "Files"
      readonly jsonl: string
      readonly sqlite: string
      readonly publicKey: string | undefined
    }

export const workOf = (input: {
  readonly directory: Option.Option<string>
  readonly jsonl: Option.Option<string>
  readonly sqlite: Option.Option<string>
  readonly publicKey: Option.Option<string>
}): Effect.Effect<Work, Ending> => {
  const { directory, jsonl, sqlite } = input
  const publicKey = Option.getOrUndefined(input.publicKey)
  if (Option.isSome(directory) && Option.isNone(jsonl) && Option.isNone(sqlite)) {
    if (publicKey !== undefined) {
      const text = "--public-key goes with --jsonl; of a ledger: sealog verify --public-key HEX DIR"
      return Effect.fail(new Ending({ code: 2, text }))
    }
    return Effect.succeed({ _tag: "Ledger", directory: directory.value })
  }
  if (Option.isNone(directory) && Option.isSome(jsonl) && Option.isSome(sqlite)) {
    return Effect.succeed({ _tag: "Files", jsonl: jsonl.value, sqlite: sqlite.value, publicKey })
  }
  const text = "name either the directory of a ledger, or both --jsonl FILE and --sqlite FILE"
  return Effect.fail(new Ending({ code: 2, text }))
}

/** The database of a pair; refused where no file is, before anything could make one. */
export const layerSqlite = (
  filename: string,
  how: "read" | "write"
): Layer.Layer<
  SqlClient.SqlClient,
  MirrorError | Effect.Error<ReturnType<typeof FilePair.existing>>
> =>
  Layer.unwrap(
    Effect.as(
      FilePair.existing(filename),
      how === "read"
        ? SealogNode.layerMirrorReadOnly(filename)
        : SqliteClient.layer({ filename }).pipe(
            Layer.catch((error) =>
              Layer.effect(
                SqlClient.SqlClient,
                Effect.fail(
                  new MirrorError({
                    operation: "open",
                    cause: error.reason,
                    hint: `Check that ${filename} is a SQLite database and may be written.`
                  })
                )
              )
            )
          )
    )
  ).pipe(Layer.provide(SealogNode.layerPlatform))

const shownMax = 20

const shown = (title: string, all: ReadonlyArray<string>, count: number): ReadonlyArray<string> =>
  count === 0
    ? []
    : [
        `${title}: ${count}`,
        ...all.slice(0, shownMax).map((one) => `  ${one}`),
        ...(count > shownMax ? [`  and ${count - shownMax} more; --json lists them`] : [])
      ]

/** A parity report in lines, verdict first. */
export const human = (report: ParityReport): ReadonlyArray<string> => [
  `${report.isConsistent ? "consistent" : "NOT CONSISTENT"}: ` +
    `${report.jsonlEventCount} rows in the journal, ${report.sqliteEventCount} in SQL`,
  ...shown("missing in SQL", report.missingInSqlite, report.missingInSqliteCount),
  ...shown("missing in the journal", report.missingInJsonl, report.missingInJsonlCount),
  ...shown(
    "different",
    report.mismatched.map(
      ({ id, jsonlEventHash, sqliteEventHash }) =>
        `${id}: event hash ${jsonlEventHash} in the journal, ${sqliteEventHash} in SQL`
    ),
    report.mismatchedCount
  )
]
