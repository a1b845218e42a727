/** What callers see in the types: the error union of every method, and what layers ask for. */
import { describe, expectTypeOf, it } from "@effect/vitest"
import type { Effect, FileSystem, Layer, Path, Result, Stream } from "effect"
import { Context, Data, Effect as Effects, Schema } from "effect"
import type { SecureRandom } from "effect/crypto"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import * as Chain from "../../src/core/Chain.ts"
import type { ChainBroken, Head } from "../../src/core/Chain.ts"
import type { Draft } from "../../src/core/Draft.ts"
import * as Events from "../../src/core/Event.ts"
import type { Event, EventUndecodable, Position } from "../../src/core/Event.ts"
import type { ParityReport } from "../../src/core/Parity.ts"
import type { BreakGlass } from "../../src/core/Policy.ts"
import * as Policy from "../../src/core/Policy.ts"
import * as View from "../../src/core/View.ts"
import type { VerifyReport } from "../../src/core/VerifyReport.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as Consumer from "../../src/store/reading/Consumer.ts"
import type { BackupReport } from "../../src/store/upkeep/Backup.ts"
import type { Guard } from "../../src/store/locking/Guard.ts"
import type { ImportReport, Line, LineRefused } from "../../src/store/writing/Import.ts"
import { fields } from "../../src/store/writing/Import.ts"
import type { Process } from "../../src/store/locking/Marker.ts"
import type { Expectation, Ledger, OpenError } from "../../src/store/Ledger.ts"
import { headAt, noneSince } from "../../src/store/Ledger.ts"
import type { verify } from "../../src/store/Ledger.ts"
import type * as Mirror from "../../src/store/mirror/Mirror.ts"
import * as PolicyGate from "../../src/store/writing/PolicyGate.ts"
import type { Reader } from "../../src/store/reading/Reader.ts"
import type { Views } from "../../src/store/views/Views.ts"
import type { ReplayReport } from "../../src/store/mirror/Replay.ts"

type Open = Ledger["Service"]
type Tag<E> = E extends { readonly _tag: infer T } ? T : E

type ErrorOf<T> =
  T extends Effect.Effect<unknown, infer E, unknown>
    ? Tag<E>
    : T extends Stream.Stream<unknown, infer E, unknown>
      ? Tag<E>
      : never

type Append =
  | "ViewFailed"
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
    const { append, appendAll }: Open = Object.create(null)
    expectTypeOf<ErrorOf<ReturnType<typeof append<undefined>>>>().toEqualTypeOf<Append>()
    expectTypeOf<ErrorOf<ReturnType<typeof appendAll<undefined>>>>().toEqualTypeOf<Append>()
  })

  it("of an append that expects something says so, and of no other", () => {
    const open = (ledger: Open, perhaps: Expectation | undefined, breakGlass: BreakGlass) => ({
      bare: ledger.append({ type: "a.v1" }),
      empty: ledger.append({ type: "a.v1" }, {}),
      other: ledger.append({ type: "a.v1" }, { breakGlass }),
      none: ledger.appendAll([], { expect: undefined }),
      head: ledger.append({ type: "a.v1" }, { expect: headAt(Chain.start) }),
      all: ledger.appendAll([], { expect: noneSince({ types: ["a.v1"] }, Chain.start) }),
      several: ledger.appendAll([], { breakGlass, expect: noneSince([{}, {}], Chain.start) }),
      perhaps: ledger.append({ type: "a.v1" }, { expect: perhaps })
    })
    type Answers = ReturnType<typeof open>
    type Expecting = Append | "ExpectationFailed" | "PositionUnknown" | "RolledBack"
    expectTypeOf<ErrorOf<Answers["bare"]>>().toEqualTypeOf<Append>()
    expectTypeOf<ErrorOf<Answers["empty"]>>().toEqualTypeOf<Append>()
    expectTypeOf<ErrorOf<Answers["other"]>>().toEqualTypeOf<Append>()
    expectTypeOf<ErrorOf<Answers["none"]>>().toEqualTypeOf<Append>()
    expectTypeOf<ErrorOf<Answers["head"]>>().toEqualTypeOf<Expecting>()
    expectTypeOf<ErrorOf<Answers["all"]>>().toEqualTypeOf<Expecting>()
    expectTypeOf<ErrorOf<Answers["several"]>>().toEqualTypeOf<Expecting>()
    expectTypeOf<ErrorOf<Answers["perhaps"]>>().toEqualTypeOf<Expecting>()
    type Refused = Extract<Effect.Error<Answers["head"]>, { readonly _tag: "ExpectationFailed" }>
    expectTypeOf<Refused["events"]>().toEqualTypeOf<ReadonlyArray<Event>>()
  })

  it("of reading names what may be wrong with what is read", () => {
    expectTypeOf<ErrorOf<Open["head"]>>().toEqualTypeOf<"MirrorError">()
    expectTypeOf<ErrorOf<ReturnType<Open["get"]>>>().toEqualTypeOf<Read | "EventNotFound">()
    expectTypeOf<ErrorOf<ReturnType<Open["line"]>>>().toEqualTypeOf<Read | "EventNotFound">()
    expectTypeOf<ErrorOf<ReturnType<Open["backup"]>>>().toEqualTypeOf<Read>()
    expectTypeOf<ErrorOf<ReturnType<Open["export"]>>>().toEqualTypeOf<Read | "NotExportable">()
  })

  it("of the rows of a view says that they are none of it, besides what asking fails with", () => {
    class Lost extends Data.TaggedError("Lost") {}
    const rows = (reader: Reader["Service"], view: View.View<string>) =>
      [() => reader.rows(view), () => reader.rows(view, () => new Lost())] as const
    type Rows = ReturnType<typeof rows>
    type Own = "SqlError" | "ViewOutdated" | "ViewRowInvalid"
    expectTypeOf<ErrorOf<ReturnType<Rows[0]>>>().toEqualTypeOf<Own>()
    expectTypeOf<ErrorOf<ReturnType<Rows[1]>>>().toEqualTypeOf<Own | "Lost">()
  })

  it("of import has what its source and its drafts fail with, and no line that is refused", () => {
    class Lost extends Data.TaggedError("Lost") {}
    class Odd extends Data.TaggedError("Odd") {}
    class Files extends Context.Service<Files, string>()("test/types/Files") {}
    type Own =
      | Exclude<
          Append,
          "DraftInvalid" | "PayloadTooLarge" | "PolicyRefused" | "IdConflict" | "UnknownParent"
        >
      | "RequestInvalid"
      | "OperationFailed"
    const source = (): Stream.Stream<Uint8Array, Lost, Files> => {
      throw new Error("for its type only")
    }
    const make = (line: Line): Effect.Effect<Draft, Odd | LineRefused> => {
      throw new Error(line.text)
    }
    const imports = (open: Open) =>
      [() => open.import([], fields()), () => open.import(source(), make)] as const
    type Imports = ReturnType<typeof imports>
    expectTypeOf<ErrorOf<ReturnType<Imports[0]>>>().toEqualTypeOf<Own>()
    expectTypeOf<ErrorOf<ReturnType<Imports[1]>>>().toEqualTypeOf<Own | "Lost" | "Odd">()
    expectTypeOf<Effect.Services<ReturnType<Imports[1]>>>().toEqualTypeOf<Files>()
    expectTypeOf<Effect.Success<ReturnType<Imports[0]>>>().toEqualTypeOf<ImportReport>()
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
      | "MarkerStale"
      | "LockError"
      | "AttestorRefused"
      | "ViewOutdated"
      | "JournalError"
      | "MirrorError"
    >()
  })
})

describe("a read with kinds", () => {
  const Posting = Schema.Struct({ account: Schema.String, cents: Schema.Int })
  const Old = Events.define("account.deposited.v1", Posting)
  const Deposited = Events.define(
    "account.deposited.v2",
    Schema.Struct({ ...Posting.fields, at: Schema.Date }),
    {
      keys: ({ account }) => ({ account }),
      upcast: [
        Old,
        (old) => {
          expectTypeOf(old).toEqualTypeOf<typeof Posting.Type>()
          return { ...old, at: new Date(0) }
        }
      ]
    }
  )
  const Closed = Events.define("account.closed.v1", Schema.Null)
  const reader: Reader["Service"] = Object.create(null)
  type Value<T> = T extends Stream.Stream<infer A, unknown, unknown> ? A : never
  const { events, path } = reader

  it("answers a union of what its kinds read, told apart by type", () => {
    type Bank = Value<ReturnType<typeof events<typeof Deposited | typeof Closed>>>
    expectTypeOf<Bank["type"]>().toEqualTypeOf<"account.deposited.v2" | "account.closed.v1">()
    type OfDeposit = Extract<Bank, { readonly type: "account.deposited.v2" }>
    expectTypeOf<OfDeposit>().toEqualTypeOf<{
      readonly type: "account.deposited.v2"
      readonly payload: { readonly account: string; readonly cents: number; readonly at: Date }
      readonly seq: number
      readonly event: Event
      readonly position: Position
    }>()
    expectTypeOf<Extract<Bank, { readonly type: "account.closed.v1" }>["payload"]>().toBeNull()
    expectTypeOf<Events.Typed<typeof Closed>["payload"]>().toBeNull()
  })

  it("may fail as it cannot be decoded; one without kinds may not, and answers events", () => {
    type Plain = Read | "PositionUnknown" | "RolledBack"
    type Typed = typeof Deposited | typeof Closed
    expectTypeOf<ErrorOf<ReturnType<typeof events<never>>>>().toEqualTypeOf<Plain>()
    expectTypeOf<ErrorOf<ReturnType<typeof path<never>>>>().toEqualTypeOf<Plain | "EventNotFound">()
    expectTypeOf<ErrorOf<ReturnType<typeof events<Typed>>>>().toEqualTypeOf<
      Plain | "EventUndecodable"
    >()
    expectTypeOf<ErrorOf<ReturnType<typeof path<Typed>>>>().toEqualTypeOf<
      Plain | "EventNotFound" | "EventUndecodable"
    >()
    expectTypeOf<Value<ReturnType<typeof events<never>>>>().toEqualTypeOf<Event>()
  })

  it("follows by the same types", () => {
    const open = () => ({
      plain: reader.changes({ keys: { account: "a" } }),
      typed: reader.changes({ kinds: [Deposited, Closed], every: "1 second" })
    })
    type Answers = ReturnType<typeof open>
    type Plain = Read | "PositionUnknown" | "RolledBack"
    expectTypeOf<Value<Answers["plain"]>>().toEqualTypeOf<Event>()
    expectTypeOf<ErrorOf<Answers["plain"]>>().toEqualTypeOf<Plain>()
    expectTypeOf<Value<Answers["typed"]>>().toEqualTypeOf<
      Events.Typed<typeof Deposited> | Events.Typed<typeof Closed>
    >()
    expectTypeOf<ErrorOf<Answers["typed"]>>().toEqualTypeOf<Plain | "EventUndecodable">()
  })

  it("by a consumer fails and asks as its handlers do, besides", () => {
    class Own extends Data.TaggedError("Own") {}
    class Bank extends Context.Service<Bank, string>()("test/types/Bank") {}
    const handler = (event: Event): Effect.Effect<void, Own, Bank> => {
      throw new Error(event.id)
    }
    const typed = (event: Events.Typed<typeof Closed>): Effect.Effect<null> =>
      Effects.succeed(event.payload)
    const open = () => ({
      sql: Consumer.inSql("a", handler, { keys: { account: "a" } }),
      file: Consumer.inFile("a", typed, { kinds: [Closed] }),
      back: Consumer.inFile("a", () => Effects.void, {
        onRolledBack: ({ to }) => (to.seq === 0 ? new Own() : Bank)
      })
    })
    type Answers = ReturnType<typeof open>
    type Plain = Read | "PositionUnknown" | "RolledBack"
    expectTypeOf<Effect.Success<Answers["sql"]>>().toBeNever()
    expectTypeOf<ErrorOf<Answers["sql"]>>().toEqualTypeOf<Plain | "Own" | "SqlError">()
    expectTypeOf<Effect.Services<Answers["sql"]>>().toEqualTypeOf<
      Reader | SqlClient.SqlClient | Bank
    >()
    expectTypeOf<ErrorOf<Answers["file"]>>().toEqualTypeOf<Plain | "EventUndecodable">()
    expectTypeOf<Effect.Services<Answers["file"]>>().toEqualTypeOf<
      Reader | FileSystem.FileSystem | Path.Path
    >()
    expectTypeOf<ErrorOf<Answers["back"]>>().toEqualTypeOf<Plain | "Own">()
    expectTypeOf<Effect.Services<Answers["back"]>>().toEqualTypeOf<
      Reader | FileSystem.FileSystem | Path.Path | Bank
    >()
  })

  it("takes its kinds from the query, and none where it names none", () => {
    const open = () => ({
      typed: events({ kinds: [Deposited, Closed], last: 3 }),
      plain: events({ last: 3 }),
      bare: events(),
      path: path("evt_", { kinds: [Closed] })
    })
    type Answers = ReturnType<typeof open>
    expectTypeOf<Value<Answers["typed"]>>().toEqualTypeOf<
      Events.Typed<typeof Deposited> | Events.Typed<typeof Closed>
    >()
    expectTypeOf<Value<Answers["plain"]>>().toEqualTypeOf<Event>()
    expectTypeOf<Value<Answers["bare"]>>().toEqualTypeOf<Event>()
    expectTypeOf<Value<Answers["path"]>["payload"]>().toBeNull()
  })

  it("decodes one event by the same types", () => {
    const decode = (event: Event) => Events.decode([Deposited, Closed], event)
    type Decoded = ReturnType<typeof decode>
    expectTypeOf<Decoded>().toEqualTypeOf<
      Result.Result<Events.Typed<typeof Deposited> | Events.Typed<typeof Closed>, EventUndecodable>
    >()
    // @ts-expect-error a payload of another shape is no payload of the kind
    const wrong = () => Deposited.make({ account: "a", cents: 1 })
    expectTypeOf(wrong).toBeFunction()
    // @ts-expect-error the type and the payload are the kind's
    const other = () => Closed.make(null, { type: "account.closed.v2" })
    expectTypeOf(other).toBeFunction()
  })
})

describe("an answer", () => {
  it("is a value of its own class", () => {
    type Value<T> = T extends Effect.Effect<infer A, unknown, unknown> ? A : never
    const { append }: Open = Object.create(null)
    expectTypeOf<Value<ReturnType<typeof append<undefined>>>["_tag"]>().toEqualTypeOf<
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
    expectTypeOf(plain).toEqualTypeOf<Layer.Layer<Ledger | Reader | Views, OpenError>>()
    const both = SealogNode.layer({ directory: "d", rules: [limit, price] })
    expectTypeOf(both).toEqualTypeOf<
      Layer.Layer<Ledger | Reader | Views, OpenError, Limits | Prices>
    >()
    const over = SealogNode.layerOver({ file: "f", rules: [limit] })
    expectTypeOf(over).toEqualTypeOf<
      Layer.Layer<
        Ledger | Reader | Views,
        OpenError,
        FileSystem.FileSystem | Path.Path | Guard | Process | SecureRandom.SecureRandom | Limits
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

describe("a view", () => {
  const Item = Schema.Struct({ id: Schema.String, n: Schema.Int })
  const Seen = Events.define("item.seen.v1", Schema.Struct({ order: Schema.String }))
  const said = { name: "items", version: 1, kinds: [Seen] } as const

  it("takes rows of its own type alone", () => {
    const columns = { id: "TEXT NOT NULL", n: "INTEGER NOT NULL" }
    const whole = () =>
      View.perEvent({
        ...said,
        row: Item,
        columns,
        rowsOf: ({ payload }) => [{ id: payload.order, n: 1 }]
      })
    expectTypeOf<ReturnType<typeof whole>>().toEqualTypeOf<View.View<typeof Item.Type>>()
    const lacking = () =>
      View.perEvent({
        ...said,
        row: Item,
        columns,
        // @ts-expect-error the row has no n
        rowsOf: ({ payload }) => [{ id: payload.order }]
      })
    expectTypeOf(lacking).toBeFunction()
    const keyed = () =>
      View.make({
        ...said,
        row: Item,
        columns,
        key: ["id"],
        keysOf: ({ payload }) => [{ id: payload.order }],
        // @ts-expect-error the row has no n
        fold: (_row, _fact, { id }) => ({ id })
      })
    expectTypeOf(keyed).toBeFunction()
  })

  it("has no column of what SQL does not keep as it is", () => {
    const flagged = () =>
      View.perEvent({
        ...said,
        row: Schema.Struct({ id: Schema.String, isNew: Schema.Boolean }),
        // @ts-expect-error a boolean is encoded as itself
        columns: { id: "TEXT NOT NULL", isNew: "INTEGER NOT NULL" },
        rowsOf: ({ payload }) => [{ id: payload.order, isNew: true }]
      })
    expectTypeOf(flagged).toBeFunction()
    const optional = () =>
      View.make({
        ...said,
        row: Schema.Struct({ id: Schema.String, n: Schema.optionalKey(Schema.Int) }),
        // @ts-expect-error what may be missing is not null
        columns: { id: "TEXT NOT NULL", n: "INTEGER NULL" },
        key: ["id"],
        keysOf: ({ payload }) => [{ id: payload.order }],
        fold: (_row, _fact, { id }) => ({ id, n: 1 })
      })
    expectTypeOf(optional).toBeFunction()
    const encoded = () =>
      View.perEvent({
        ...said,
        row: Schema.Struct({ id: Schema.String, at: Schema.NullOr(Schema.DateFromString) }),
        columns: { id: "TEXT NOT NULL", at: "TEXT NULL" },
        rowsOf: ({ payload }) => [{ id: payload.order, at: null }]
      })
    expectTypeOf(encoded).toBeFunction()
  })
})
