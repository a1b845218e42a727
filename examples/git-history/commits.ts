/**
 * The commits of a git repository, oldest first, as a stream that holds one commit at a time.
 *
 * `git log -z` answers texts that end with NUL, which no name, subject or path can hold. A commit is
 * one text, a line for each of the fields below, then a text `added TAB deleted TAB path` per file.
 * Where that path is empty the file was renamed, and two more texts say from what and to what.
 */
import { Data, Effect, Fiber, Stream } from "effect"
import { ChildProcess } from "effect/process"
import type { Draft } from "../../src/index.ts"
import { Event, Timestamp } from "../../src/index.ts"

/** Git did not answer; `reason` is what it said. */
export class GitFailed extends Data.TaggedError("GitFailed")<{
  readonly repository: string
  readonly reason: string
}> {
  override get message(): string {
    return (
      `No git history can be read at ${this.repository}: ${this.reason}. Name a repository that ` +
      `has commits: node examples/git-history/main.ts PATH`
    )
  }
}

// A repository that the environment names, as inside a git hook, is not the one that was asked for.
const env = { LC_ALL: "C", GIT_DIR: undefined, GIT_WORK_TREE: undefined, GIT_INDEX_FILE: undefined }

/** What `git` prints, U+FFFD for what is not UTF-8; fails with `GitFailed`, at its end at the latest. */
const git = (repository: string, ...args: ReadonlyArray<string>) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const options = { env, extendEnv: true, stdin: "ignore" } as const
      const child = yield* ChildProcess.make("git", ["-C", repository, ...args], options)
      const said = yield* Effect.forkScoped(Stream.mkString(Stream.decodeText(child.stderr)))
      const end = Effect.gen(function* () {
        if ((yield* child.exitCode) === 0) return
        const reason = (yield* Fiber.join(said)).trim()
        return yield* new GitFailed({ repository, reason })
      })
      const failing = Stream.drain(Stream.fromEffect(end))
      return Stream.concat(Stream.decodeText(child.stdout), failing)
    })
  ).pipe(
    Stream.catchTag("PlatformError", ({ message }) =>
      Stream.fail(
        new GitFailed({ repository, reason: `git could not be run, is it installed? ${message}` })
      )
    )
  )

/** Whether the clone cut the history off at some depth; fails where there is no history at all. */
export const isShallow = Effect.fn("isShallow")(function* (repository: string) {
  yield* Stream.runDrain(git(repository, "log", "-1", "--format=%H"))
  const answer = yield* Stream.mkString(git(repository, "rev-parse", "--is-shallow-repository"))
  return answer.trim() === "true"
})

const fields = ["commit", "%H", "%P", "%at", "%aI", "%an", "%ae", "%cI", "%cn", "%ce", "%s"]
const isCommit = /^commit\n[0-9a-f]+\n/
const fileOf = /^\n?(\d+|-)\t(\d+|-)\t([^]*)$/

const splitAtNul = (rest: string, chunk: string) => {
  const texts = (rest + chunk).split("\0")
  return [texts.pop() ?? "", texts] as const
}

/** One commit's texts so far. The next `paths` texts are paths of it, whatever they say. */
interface Gathering {
  texts: Array<string>
  paths: number
}

const gather = (state: Gathering, text: string) => {
  const isNext = state.paths === 0 && isCommit.test(text)
  const done = isNext && state.texts.length > 0 ? [draftOf(state.texts)] : []
  if (isNext) state.texts = []
  state.paths = state.paths > 0 ? state.paths - 1 : fileOf.exec(text)?.[3] === "" ? 2 : 0
  state.texts.push(text)
  return [state, done] as const
}

/** How many lines; git counts none in a file that is not text. */
const lines = (count: string) => (count === "-" ? null : Number(count))

const filesOf = function* (texts: Iterator<string>) {
  for (let next = texts.next(); next.done !== true; next = texts.next()) {
    const [, added = "", deleted = "", path = ""] = fileOf.exec(next.value) ?? []
    const renamed = path === "" ? { from: texts.next().value, path: texts.next().value } : { path }
    yield { ...renamed, additions: lines(added), deletions: lines(deleted) }
  }
}

/** The last second that a row can hold: the end of the year 9999. */
const secondsMax = 253_402_300_799

/** The tag of a commit some of whose text is not UTF-8; U+FFFD stands in its place. */
export const replaced = "text-replaced"

const draftOf = (texts: ReadonlyArray<string>): Draft.Draft => {
  const [first = "", ...files] = texts
  const [, commit = "", parents = "", seconds = "", ...people] = first.split("\n")
  const [authored, author, authorEmail = "", committed, committer, committerEmail, subject] = people
  const isTime = seconds !== "" && Number(seconds) <= secondsMax
  return {
    type: "git.commit.recorded.v1",
    // The same commit has the same id: a ledger holds it once, however often it is appended.
    id: Event.idFrom(commit),
    observedAt: isTime ? Timestamp.fromMillis(Number(seconds) * 1000) : undefined,
    source: { type: "tool", name: "git" },
    domainTags: texts.some((text) => text.includes("\ufffd")) ? [replaced] : [],
    keys: { commit, author: authorEmail },
    payload: {
      commit,
      parents: parents === "" ? [] : parents.split(" "),
      author: { name: author, email: authorEmail, date: authored },
      committer: { name: committer, email: committerEmail, date: committed },
      subject,
      files: [...filesOf(files.values())]
    }
  }
}

// What the user's configuration could change in the answer is said here, so that it cannot.
const log =
  "-c log.showRoot=true -c log.diffMerges=off --no-replace-objects log -z --reverse --topo-order " +
  "--numstat --find-renames --encoding=UTF-8 --no-mailmap --no-color --no-ext-diff --no-textconv " +
  "--no-show-signature"

/** Every commit that leads to `HEAD` as a draft, after its parents; fails with `GitFailed`. */
export const commits = (repository: string) =>
  git(repository, ...log.split(" "), `--format=${fields.join("%n")}`).pipe(
    Stream.mapAccum(() => "", splitAtNul),
    Stream.mapAccum((): Gathering => ({ texts: [], paths: 0 }), gather, {
      onHalt: ({ texts }) => (texts.length === 0 ? [] : [draftOf(texts)])
    })
  )
