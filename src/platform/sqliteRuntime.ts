/**
 * Internal: where `node:sqlite` of one runtime does otherwise than that of another, found by trying.
 */
import { DatabaseSync } from "node:sqlite"

const tried = (trial: (db: DatabaseSync) => boolean): (() => boolean) => {
  let found: boolean | undefined
  return () => {
    if (found !== undefined) return found
    const db = new DatabaseSync(":memory:")
    try {
      found = trial(db)
    } finally {
      db.close()
    }
    return found
  }
}

/** Whether an error amid an iteration is told, and not taken for the end of the rows. */
export const iterationTellsErrors = tried((db) => {
  const overflow = db.prepare("SELECT abs(-9223372036854775807 - 1)")
  try {
    overflow.iterate().next()
    return false
  } catch {
    return true
  }
})

/**
 * Whether a statement that was prepared before its table changed has the names of the columns that
 * it gives, and as many. Deno 2.9 finds them before SQLite prepares it again.
 */
export const namesFollowTables = tried((db) => {
  db.exec("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
  const all = db.prepare("SELECT * FROM t")
  db.exec("ALTER TABLE t ADD COLUMN b")
  return Object.keys(all.all()[0] ?? {}).length === 2
})
