import { assert, describe, it } from "@effect/vitest"
import { DatabaseSync } from "node:sqlite"
import { forbidden } from "../../../src/store/mirror/lending.ts"

const tables = ["mine", "sealog_aside_other"]

/** SQL that only reads, or writes tables of its own. */
const honest: ReadonlyArray<string> = [
  "SELECT 1",
  "-- what is there\nSELECT * FROM events",
  "/* what is there */ SELECT * FROM events",
  "VALUES (1)",
  "INSERT INTO mine AS m (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = m.a RETURNING a",
  "INSERT INTO mine (a) SELECT 1 WHERE true ON CONFLICT DO\n  UPDATE\n  SET a = 2",
  "insert or ignore into MINE (a) values ('DELETE FROM events')",
  'INSERT INTO "Mine" (a) VALUES (1)',
  "INSERT INTO main.mine (a) VALUES (1)",
  'INSERT INTO "main"."mine" (a) VALUES (1)',
  'WITH events AS (SELECT 1 AS a) INSERT INTO mine (a) SELECT a FROM "events"',
  "UPDATE OR IGNORE mine SET a = b.a FROM sealog_aside_other AS b",
  "UPDATE [mine] SET a = 1",
  "UPDATE `mine` SET a = 1",
  'SELECT "update", "delete from events" FROM mine',
  "SELECT [update events] FROM mine",
  "SELECT replace(a, 'x', 'it''s') FROM mine -- UPDATE events SET a = 1",
  "DELETE FROM mine WHERE a = '-- '' DELETE FROM events'",
  "REPLACE INTO mine (a) VALUES ('/*')",
  "SAVEPOINT effect_sql_1",
  "RELEASE SAVEPOINT effect_sql_1",
  "ROLLBACK TO SAVEPOINT effect_sql_1"
]

const forbiddenTexts: ReadonlyArray<string> = [
  "",
  "DELETE FROM `events`",
  "DELETE FROM [events]",
  "DELETE FROM 'events'",
  'DELETE FROM"events"',
  "DELETE/**/FROM/**/events",
  "DELETE --\nFROM events",
  "DELETE FROM main.events",
  'DELETE FROM "main".events',
  "DELETE FROM main . events",
  "DELETE FROM temp.mine",
  "UPDATE/**/events SET id = ''",
  "UPDATE'events'SET id = ''",
  'UPDATE "a""b" SET a = 1',
  "UPDATE OR REPLACE events SET id = ''",
  "INSERT OR REPLACE INTO`events`SELECT * FROM events",
  "REPLACE INTO[events]SELECT * FROM events",
  "SELECT '''' ; DELETE FROM events",
  'SELECT "\'" ; DELETE FROM events WHERE id = "\'"',
  'SELECT "--" ; DELETE FROM events',
  "WITH a AS (SELECT 1) UPDATE main.events SET id = ''",
  "INSERT OR ROLLBACK INTO mine (a) VALUES (1)",
  "UPDATE OR ROLLBACK mine SET a = 1",
  "EXPLAIN SELECT 1",
  "PRAGMA query_only = ON",
  "BEGIN",
  "/* SELECT */ COMMIT",
  "SAVEPOINT mine",
  "SAVEPOINT effect_sql_1; COMMIT",
  "ROLLBACK TRANSACTION TO SAVEPOINT effect_sql_1"
]

describe("SQL on a connection that is lent", () => {
  for (const text of honest) {
    it(`may be ${text}`, () => {
      assert.isUndefined(forbidden(text, tables))
    })
  }

  for (const text of forbiddenTexts) {
    it(`may not be ${text || "nothing"}`, () => {
      assert.isString(forbidden(text, tables))
    })
  }

  it("is read however long its strings are", () => {
    const text = `${"x".repeat(10_000_000)}''x`
    assert.isUndefined(forbidden(`INSERT INTO mine (a) VALUES ('${text}')`, tables))
    assert.isString(forbidden(`SELECT '${text}' UNION DELETE FROM events`, tables))
  })

  it("is SQL that SQLite takes, or these tests would say nothing", () => {
    const db = new DatabaseSync(":memory:")
    db.exec(`CREATE TABLE events (id TEXT); CREATE TABLE "a""b" (a);
      CREATE TEMP TABLE mine (a, "update", "delete from events", "update events");
      CREATE TABLE main.mine (a UNIQUE, "update", "delete from events", "update events");
      CREATE TABLE sealog_aside_other (a)`)
    for (const text of [...honest, ...forbiddenTexts]) {
      if (text !== "") assert.doesNotThrow(() => db.prepare(text), undefined, text)
    }
    db.close()
  })
})
