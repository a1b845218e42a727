/**
 * The SQL client for everyone but the writer: what it reads is committed.
 *
 * The writer keeps its own `SqlClient` and fills a group's rows inside one transaction. A query
 * sent through that client waits for the group, or, asked from within it, sees rows whose journal
 * write may yet fail. A query sent through `ReadSql` sees the mirror as of the last commit, which
 * is what was acknowledged, and never waits for the writer.
 *
 * What may never change: an implementation never answers with an uncommitted row, not even to the
 * fiber whose own transaction holds it. SQLite needs a second connection for that, opened
 * read-only; over a pool with read-committed isolation it may be the `SqlClient` itself, as long
 * as it is not asked from within a transaction.
 */
import { Context } from "effect"
import type { SqlClient } from "effect/sql"

/** A `SqlClient` that sees committed rows only. */
export class ReadSql extends Context.Service<ReadSql, SqlClient.SqlClient>()("sealog/ReadSql") {}
