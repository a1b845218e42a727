/**
 * Internal: the machine a faulty disk belongs to. It counts every operation, of files and of SQL, in
 * the order in which they are begun; strikes those that a fault names; and dies by a kill or a power
 * cut, after which every call of the programs that ran on it fails. What they still do then is not
 * done, and what they say is not heard.
 */
import { Effect } from "effect"
import * as PlatformError from "effect/PlatformError"
import { Planes } from "./planes.ts"
import type { Random } from "./planes.ts"

/** What a fault can strike. `statement` is any SQL but `commit`; both have their SQL as `path`. */
export type OperationName =
  | "open"
  | "read"
  | "write"
  | "truncate"
  | "sync"
  | "stat"
  | "list"
  | "mkdir"
  | "rename"
  | "remove"
  | "chmod"
  | "statement"
  | "commit"

/** One call that reached the disk. `nth` counts all of them, from 1. */
export interface Operation {
  readonly nth: number
  readonly name: OperationName
  readonly path: string
  /** How many bytes a read or write is about. */
  readonly bytes: number | undefined
}

/** Which operations a fault strikes. */
interface Where {
  /** Any operation where left out. */
  readonly on?: OperationName | ReadonlyArray<OperationName> | undefined
  /** A text that the path, or the SQL, holds. */
  readonly path?: string | undefined
  /** The first of them that is struck, counted from now; 1 where left out. */
  readonly nth?: number | undefined
  /** How many in a row are struck; 1 where left out. */
  readonly times?: number | undefined
}

/** What happens to an operation that is struck. */
type How =
  | {
      /** It fails with this code: `EIO`, `ENOSPC`, `EMFILE`, `EACCES`, …; of SQL `SQLITE_FULL`, … */
      readonly code: string
      /** A write puts this many bytes down before it fails. */
      readonly bytes?: number | undefined
      /**
       * It fails, and has been done all the same. A failed fsync that does not persist leaves its
       * pages clean: later reads show them, no later fsync writes them, a power cut loses them.
       */
      readonly persists?: boolean | undefined
    }
  /** A write takes only so many bytes, and says so. */
  | { readonly short: number }
  /** The open transaction is rolled back before the statement runs, and nobody is told. */
  | { readonly vanishes: true }
  /** The machine dies instead of it, or `during` it: done in part or whole, and never answered. */
  | { readonly crash: "kill" | "powerCut"; readonly during?: boolean | undefined }

/** Which operations fail, and how. */
export type Fault = Where & How

/** Whoever began before the machine's last death is dead; undefined for who only looks on. */
export interface Process {
  readonly generation: number | undefined
}

type Armed = Fault & { calls: number }

const isOn = ({ on }: Where, name: OperationName): boolean =>
  on === undefined || on === name || (typeof on !== "string" && on.includes(name))

/** The error of a call that reached a disk with this code. */
export const failure = (code: string, name: string, path: string): PlatformError.PlatformError =>
  PlatformError.systemError({
    _tag: tags[code] ?? "Unknown",
    module: "FileSystem",
    method: name,
    pathOrDescriptor: path,
    cause: Object.assign(new Error(`${code}: ${name} ${path}`), { code })
  })

const tags: { readonly [code: string]: PlatformError.SystemErrorTag } = {
  ENOENT: "NotFound",
  EEXIST: "AlreadyExists",
  EACCES: "PermissionDenied",
  EPERM: "PermissionDenied",
  EISDIR: "BadResource",
  ENOTDIR: "BadResource",
  EBUSY: "Busy"
}

/** Thrown inside a call, with the code it fails with. */
export class Refused extends Error {
  readonly code: string

  constructor(code: string) {
    super(code)
    this.code = code
  }
}

/** What a call says that a dead program makes. */
const deadCode = "EIO"

export class Machine {
  readonly planes = new Planes()
  readonly random: Random
  readonly operations: Array<Operation> = []
  readonly deaths: Array<"kill" | "powerCut"> = []
  /** Run when the machine dies, before anything can begin anew. */
  readonly atDeath: Array<(by: "kill" | "powerCut") => Effect.Effect<void>> = []
  #faults: Array<Armed> = []
  #struck = 0

  constructor(random: Random) {
    this.random = random
  }

  get generation(): number {
    return this.deaths.length
  }

  get struck(): number {
    return this.#struck
  }

  fail(fault: Fault): void {
    this.#faults.push({ ...fault, calls: 0 })
  }

  mend(): void {
    this.#faults = []
  }

  isDead({ generation }: Process): boolean {
    return generation !== undefined && generation !== this.generation
  }

  /** Counts an operation; the fault that strikes it, if one does. */
  begin(name: OperationName, path: string, bytes?: number): Fault | undefined {
    this.operations.push({ nth: this.operations.length + 1, name, path, bytes })
    let struck: Fault | undefined
    for (const fault of this.#faults) {
      if (!isOn(fault, name) || !path.includes(fault.path ?? "")) continue
      const call = ++fault.calls
      const first = fault.nth ?? 1
      if (call >= first && call < first + (fault.times ?? 1)) struck ??= fault
    }
    if (struck !== undefined) this.#struck++
    return struck
  }

  /** All that runs on it is dead from here on; what was not durable may be lost. */
  die(by: "kill" | "powerCut"): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.deaths.push(by)
      if (by === "powerCut") this.planes.cut(this.random)
      return Effect.forEach(this.atDeath, (hook) => hook(by), { discard: true })
    })
  }

  /** Sometimes lets other fibers go first, as a real call would. */
  get pause(): Effect.Effect<void> {
    return Effect.suspend(() => (this.random() < 0.25 ? Effect.yieldNow : Effect.void))
  }
}

export type Failing<A> = Effect.Effect<A, PlatformError.PlatformError>

/** Runs calls as one program's: counted, struck, and refused once the program is dead. */
export class Caller {
  readonly machine: Machine
  readonly process: Process

  constructor(machine: Machine, process: Process) {
    this.machine = machine
    this.process = process
  }

  /** `cut` says what is done of a write that is struck: so many bytes, or all. */
  call<A>(
    name: OperationName,
    path: string,
    run: (bytesMax: number) => A,
    bytes?: number,
    undone?: () => void
  ): Failing<A> {
    const dead = Effect.suspend(() => Effect.fail(failure(deadCode, name, path)))
    const attempt = (bytesMax: number) =>
      Effect.try({
        try: () => run(bytesMax),
        catch: (cause) => {
          if (cause instanceof Refused) return failure(cause.code, name, path)
          throw cause
        }
      })
    const all = Number.POSITIVE_INFINITY
    if (this.process.generation === undefined) return attempt(all)
    return Effect.suspend((): Failing<A> => {
      if (this.machine.isDead(this.process)) return dead
      const fault = this.machine.begin(name, path, bytes)
      if (fault === undefined || "vanishes" in fault) return attempt(all)
      if ("short" in fault) return attempt(fault.short)
      if ("code" in fault) {
        const failed = Effect.fail(failure(fault.code, name, path))
        if (fault.persists === true) return Effect.andThen(attempt(all), failed)
        if (name === "write" && fault.bytes !== undefined) {
          return Effect.andThen(attempt(fault.bytes), failed)
        }
        undone?.()
        return failed
      }
      const done = Math.floor(this.machine.random() * ((bytes ?? 0) + 1))
      const before =
        fault.during === true
          ? Effect.ignore(attempt(bytes === undefined ? all : done))
          : Effect.void
      return before.pipe(Effect.andThen(this.machine.die(fault.crash)), Effect.andThen(dead))
    }).pipe(Effect.tap(() => this.machine.pause))
  }
}
