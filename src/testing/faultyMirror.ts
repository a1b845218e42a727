/**
 * Internal: the mirrors of a faulty disk. SQLite writes real files, in a scratch directory; what a
 * kill or a power cut leaves of them is put back as copies, in a place of its own for each life of
 * the machine, so that connections of the dead reach nothing that lives.
 *
 *   kill       database and log as they lie
 *   power cut  the log cut short or torn behind its last checkpoint (the last commits lost), the
 *              copy of the last boot, or nothing at all
 *
 * A checkpoint makes the log durable before it writes the database, so what lay in the log then is
 * never lost alone; neither is a commit at `synchronous = FULL`, behind which no older copy comes
 * back. After a checkpoint SQLite writes the log anew from its front, with other salts, and leaves old frames
 * behind; the end of the file is not the end of the log.
 */
import { Effect } from "effect"
import type { FileSystem } from "effect"
import { SqlError } from "effect/sql"
import { NodeConnection } from "../platform/sqliteConnection.ts"
import type { Fault, Machine, Process } from "./faultyMachine.ts"

interface Image {
  readonly database: Uint8Array | undefined
  readonly log: Uint8Array | undefined
}

/** How much of a log is durable, and the salts that tell whether it is still that log. */
interface Logged {
  readonly salts: string
  readonly bytes: number
}

interface Place {
  /** Where the database of this life lies. */
  file: string
  /** What this life began with. */
  booted: Image
  logged: Logged
}

const nothing: Image = { database: undefined, log: undefined }
const unlogged: Logged = { salts: "", bytes: 0 }

const logHeaderBytes = 32
const frameHeaderBytes = 24

/** The eight bytes of salt, in the header at 16 and in each frame at 8. */
const saltsAt = (log: Uint8Array, offset: number): string => log.subarray(offset, offset + 8).join()

/** Where the frames end that were written since the log last began anew. */
const endOfLog = (log: Uint8Array): number => {
  if (log.byteLength < logHeaderBytes) return 0
  const pageBytes = new DataView(log.buffer, log.byteOffset).getUint32(8)
  const salts = saltsAt(log, 16)
  let end = logHeaderBytes
  while (end + frameHeaderBytes + pageBytes <= log.byteLength && saltsAt(log, end + 8) === salts) {
    end += frameHeaderBytes + pageBytes
  }
  return end
}

const loggedOf = (log: Uint8Array | undefined): Logged =>
  log === undefined ? unlogged : { salts: saltsAt(log, 16), bytes: endOfLog(log) }

/** SQLite's result codes by name, and those that it gives for an operating system's. */
const resultCodes: { readonly [code: string]: number } = {
  EACCES: 14,
  EIO: 10,
  EMFILE: 14,
  ENOSPC: 13,
  SQLITE_BUSY: 5,
  SQLITE_READONLY: 8,
  SQLITE_IOERR: 10,
  SQLITE_CORRUPT: 11,
  SQLITE_FULL: 13,
  SQLITE_CANTOPEN: 14
}

const sqlFailure = (code: string, sql: string): SqlError.SqlError => {
  const errcode = resultCodes[code] ?? 1
  const message = `${code}: ${sql.slice(0, 60)}`
  // effect/sql classifies by `errno`.
  const cause = Object.assign(new Error(message), {
    code: "ERR_SQLITE_ERROR",
    errcode,
    errno: errcode
  })
  const place = { message, operation: "run a statement" }
  return new SqlError.SqlError({ reason: SqlError.classifySqliteError(cause, place) })
}

const deadFailure = (sql: string) => sqlFailure("SQLITE_IOERR", sql)

/** The mirrors of one disk, by the path that programs know them by. */
export class Mirrors {
  readonly #machine: Machine
  readonly #files: FileSystem.FileSystem
  readonly #scratch: string
  readonly #places = new Map<string, Place>()
  #lives = 0

  /** `files` are the running system's, `scratch` a directory of theirs. */
  constructor(machine: Machine, files: FileSystem.FileSystem, scratch: string) {
    this.#machine = machine
    this.#files = files
    this.#scratch = scratch
    machine.atDeath.push((by) =>
      Effect.forEach(this.#places.values(), (place) => this.#outlive(place, by), { discard: true })
    )
  }

  /** Where the database lies that programs know by this path. */
  readonly locate = (path: string): Effect.Effect<Place> =>
    Effect.suspend(() => {
      const there = this.#places.get(path)
      if (there !== undefined) return Effect.succeed(there)
      const place: Place = { file: "", booted: nothing, logged: unlogged }
      this.#places.set(path, place)
      return Effect.as(this.#begin(place, nothing, unlogged), place)
    })

  /** The connections of a program to one of the databases. */
  connectionClass(process: Process, place: Place): typeof NodeConnection {
    const machine = this.#machine
    const logged = this.#logged(place)
    const kept = Effect.andThen(logged, this.#kept(place))
    return class extends NodeConnection {
      #full = false

      #run<A>(sql: string, run: Effect.Effect<A, SqlError.SqlError>) {
        return Effect.suspend((): Effect.Effect<A, SqlError.SqlError> => {
          // The rollback of a transaction that nobody will see any more is of no account.
          if (machine.isDead(process)) {
            return sql === "ROLLBACK" ? run : Effect.fail(deadFailure(sql))
          }
          const isCommit = sql === "COMMIT"
          const fault = machine.begin(isCommit ? "commit" : "statement", sql)
          if (fault !== undefined) return this.#strike(fault, sql, run)
          const mode = /^PRAGMA synchronous = (FULL|NORMAL)$/.exec(sql)?.[1]
          if (mode !== undefined) this.#full = mode === "FULL"
          if (isCommit && this.#full) return Effect.tap(run, () => kept)
          return sql.includes("wal_checkpoint") ? Effect.tap(run, () => logged) : run
        })
      }

      #strike<A>(
        fault: Fault,
        sql: string,
        run: Effect.Effect<A, SqlError.SqlError>
      ): Effect.Effect<A, SqlError.SqlError> {
        if ("vanishes" in fault) {
          if (this.db.isTransaction) this.db.exec("ROLLBACK")
          return run
        }
        if ("short" in fault) return run
        if ("code" in fault) {
          const failed = Effect.fail(sqlFailure(fault.code, sql))
          return fault.persists === true ? Effect.andThen(run, failed) : failed
        }
        const done = fault.during === true ? Effect.ignore(run) : Effect.void
        return done.pipe(
          Effect.andThen(machine.die(fault.crash)),
          Effect.andThen(Effect.fail(deadFailure(sql)))
        )
      }

      override execute(...args: Parameters<NodeConnection["execute"]>) {
        return this.#run(args[0], super.execute(...args))
      }

      override executeUnprepared(...args: Parameters<NodeConnection["executeUnprepared"]>) {
        return this.#run(args[0], super.executeUnprepared(...args))
      }

      override executeRaw(...args: Parameters<NodeConnection["executeRaw"]>) {
        return this.#run(args[0], super.executeRaw(...args))
      }

      override executeValues(...args: Parameters<NodeConnection["executeValues"]>) {
        return this.#run(args[0], super.executeValues(...args))
      }

      override executeValuesUnprepared(
        ...args: Parameters<NodeConnection["executeValuesUnprepared"]>
      ) {
        return this.#run(args[0], super.executeValuesUnprepared(...args))
      }
    }
  }

  #logged(place: Place): Effect.Effect<void> {
    return Effect.map(this.#read(`${place.file}-wal`), (log) => {
      place.logged = loggedOf(log)
    })
  }

  #read(path: string): Effect.Effect<Uint8Array | undefined> {
    return Effect.orElseSucceed(this.#files.readFile(path), () => undefined)
  }

  /** A commit at FULL is durable, so that no older copy comes back. */
  #kept(place: Place): Effect.Effect<void> {
    return Effect.map(this.#left(place), (image) => {
      place.booted = image
    })
  }

  #left(place: Place): Effect.Effect<Image> {
    return Effect.all({
      database: this.#read(place.file),
      log: this.#read(`${place.file}-wal`)
    })
  }

  /** A place for a new life, with these files in it. */
  #begin(place: Place, image: Image, logged: Logged): Effect.Effect<void> {
    const files = this.#files
    return Effect.gen({ self: this }, function* () {
      const directory = `${this.#scratch}/${++this.#lives}`
      yield* files.makeDirectory(directory, { mode: 0o700 })
      place.file = `${directory}/mirror.sqlite`
      place.booted = image
      place.logged = logged
      if (image.database !== undefined) yield* files.writeFile(place.file, image.database)
      if (image.log !== undefined) yield* files.writeFile(`${place.file}-wal`, image.log)
    }).pipe(Effect.orDie)
  }

  #outlive(place: Place, by: "kill" | "powerCut"): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const left = yield* this.#left(place)
      // A kill makes nothing durable: a power cut later may take what it left.
      if (by === "kill") return yield* this.#begin(place, left, place.logged)
      const survivor = this.#survivor(place, left)
      yield* this.#begin(place, survivor, loggedOf(survivor.log))
    })
  }

  #survivor(place: Place, left: Image): Image {
    const { random } = this.#machine
    const drawn = random()
    if (drawn < 0.1) return nothing
    if (drawn < 0.2) return place.booted
    if (left.log === undefined || drawn < 0.4) return left
    const end = endOfLog(left.log)
    const isSame = saltsAt(left.log, 16) === place.logged.salts
    const floor = isSame ? Math.min(place.logged.bytes, end) : 0
    const within = () => floor + Math.floor(random() * (end - floor + 1))
    // A copy: a Buffer's own `slice` is a view, and its `fill` refuses what lies beyond its end.
    const log = new Uint8Array(left.log.subarray(0, drawn < 0.5 ? floor : within()))
    if (drawn > 0.85) log.fill(0, within(), within())
    return { database: left.database, log }
  }
}
