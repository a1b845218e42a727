import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import * as crypto from "node:crypto"
import * as Json from "../../src/core/CanonicalJson.ts"
import * as Hashes from "../../src/core/Hashes.ts"
import * as LockMarker from "../../src/core/LockMarker.ts"
import * as Takeover from "../../src/core/Takeover.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import { natural, text as textOf, utf8 } from "./history.ts"

/** An Ed25519 key from a seed: the DER around the bytes is always the same. */
const keyOf = (seed: number) => {
  const pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex")
  const der = Buffer.concat([pkcs8, Buffer.alloc(32, seed)])
  const privateKey = crypto.createPrivateKey({ key: der, format: "der", type: "pkcs8" })
  const spki = crypto.createPublicKey(privateKey).export({ format: "der", type: "spki" })
  return { privateKey, publicKey: new Uint8Array(spki.subarray(-32)) }
}

const verify: Takeover.Circumstances["verify"] = (publicKey, message, signature) => {
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), publicKey])
  const key = crypto.createPublicKey({ key: der, format: "der", type: "spki" })
  return crypto.verify(null, message, key, signature)
}

const time = (text: string) => Result.getOrThrow(Timestamp.parse(text))
const ada = keyOf(1)
const bob = keyOf(2)

const marker: LockMarker.LockMarker = {
  pid: 4711,
  host: "build-7",
  deployment: "prod-1",
  operator: "operator:ada",
  acquiredAt: time("2026-05-04T12:30:45.120Z"),
  intent: "restore of monday"
}

const claims = Takeover.claimsFor(marker, {
  publicKey: ada.publicKey,
  notBefore: time("2026-05-04T13:00:00Z"),
  notAfter: time("2026-05-04T14:00:00Z"),
  unknownHolderAccepted: false
})

const sign = (of: Takeover.Claims, key = ada): Takeover.Statement => {
  const input = Result.getOrThrow(Takeover.signingInput(of))
  return { ...of, signature: crypto.sign(null, input, key.privateKey).toString("hex") }
}

const statement = sign(claims)
const written = Result.getOrThrow(Takeover.encode(statement))

const circumstances: Takeover.Circumstances = {
  marker,
  deployment: "prod-1",
  operators: [Takeover.operatorId(bob.publicKey), claims.operator],
  now: time("2026-05-04T13:30:00Z"),
  flockPresent: false,
  verify
}

const check = (of: Takeover.Statement, changes: Partial<Takeover.Circumstances> = {}) =>
  Takeover.checkTakeover(of, { ...circumstances, ...changes })

const refused = (of: Takeover.Statement, changes: Partial<Takeover.Circumstances> = {}) =>
  Result.getOrThrow(Result.flip(check(of, changes)))

const invalid = (source: string | Uint8Array) =>
  Result.getOrThrow(Result.flip(Takeover.decode(source)))

const other = Takeover.operatorId(bob.publicKey)
const bobsKey = Buffer.from(bob.publicKey).toString("hex")

/** Signed by ada all the same: the claim alone must be the fault. */
const wrong: ReadonlyArray<
  readonly [why: string, changes: Partial<Takeover.Claims>, claim: Takeover.Claim]
> = [
  ["another kind", { kind: "sealog.checkpoint" }, "kind"],
  ["no kind", { kind: "" }, "kind"],
  ["an older version", { schemaVersion: 0 }, "version"],
  ["a newer version", { schemaVersion: 2 }, "version"],
  [
    "a window that is not open yet",
    { notBefore: time("2026-05-04T13:30:00.000000001Z") },
    "window"
  ],
  ["a window that has closed", { notAfter: time("2026-05-04T13:29:59.999999999Z") }, "window"],
  [
    "a window that ends before it begins",
    { notBefore: claims.notAfter, notAfter: claims.notBefore },
    "window"
  ],
  ["another deployment", { deployment: "prod-2" }, "deployment"],
  ["a deployment that looks the same", { deployment: "prod-1\u200b" }, "deployment"],
  ["an operator who is not listed", { operator: `operator:${"0".repeat(64)}` }, "operator"],
  ["a listed operator in capitals", { operator: claims.operator.toUpperCase() }, "operator"],
  ["a listed operator with another's key", { operator: other }, "public_key"],
  ["a key that is not the operator's", { publicKey: bobsKey }, "public_key"],
  ["another pid", { pid: 4712 }, "pid"],
  ["a time before the marker's", { acquiredAt: time("2026-05-04T12:30:45.119Z") }, "acquired_at"],
  [
    "a time just behind the marker's",
    { acquiredAt: time("2026-05-04T12:30:45.120000001Z") },
    "acquired_at"
  ],
  ["another marker's text", { markerSha256: "0".repeat(64) }, "marker_sha256"]
]

const memberNames = Object.keys(JSON.parse(written))

describe("Takeover", () => {
  it("a listed operator's statement lets them take over from its marker", () => {
    assert.deepStrictEqual(Result.getOrThrow(check(statement)), marker)
    for (const now of [claims.notBefore, claims.notAfter]) {
      assert.isTrue(Result.isSuccess(check(statement, { now })), now)
    }
  })

  for (const [why, changes, claim] of wrong) {
    it(`refuses ${why}`, () => {
      const fault = refused(sign({ ...claims, ...changes }))
      assert.strictEqual(fault.claim, claim)
      assert.notStrictEqual(fault.expected, fault.actual)
      assert.include(fault.message, claim)
      assert.include(fault.message, "The marker stays")
    })
  }

  const elsewhere: ReadonlyArray<
    readonly [why: string, changes: Partial<Takeover.Circumstances>, claim: Takeover.Claim]
  > = [
    ["everybody where nobody is listed", { operators: [] }, "operator"],
    ["an operator taken from the list", { operators: [other] }, "operator"],
    ["a time before the window", { now: time("2026-05-04T12:59:59.999999999Z") }, "window"],
    ["a time behind the window", { now: time("2026-05-04T14:00:00.000000001Z") }, "window"],
    ["a time of another century", { now: time("+12026-05-04T13:30:00Z") }, "window"],
    ["the application's other deployment", { deployment: "prod-2" }, "deployment"],
    [
      "a marker of another deployment",
      { marker: { ...marker, deployment: "prod-2" } },
      "deployment"
    ],
    ["a marker of another process", { marker: { ...marker, pid: 1 } }, "pid"],
    [
      "a marker of the same pid, made later",
      { marker: { ...marker, acquiredAt: claims.notBefore } },
      "acquired_at"
    ],
    [
      "another marker of the same process and millisecond",
      { marker: { ...marker, intent: "restore of tuesday" } },
      "marker_sha256"
    ],
    ["a .flock that the statement does not speak of", { flockPresent: true }, "flock"],
    ["what the verifier does not confirm", { verify: () => false }, "signature"]
  ]
  for (const [why, changes, claim] of elsewhere) {
    it(`refuses ${why}`, () => assert.strictEqual(refused(statement, changes).claim, claim))
  }

  it("goes on beside a .flock where the statement says so", () => {
    const accepting = sign({ ...claims, unknownHolderAccepted: true })
    assert.isTrue(Result.isSuccess(check(accepting, { flockPresent: true })))
    assert.isTrue(Result.isSuccess(check(accepting)))
    const lying = { ...statement, unknownHolderAccepted: true }
    assert.strictEqual(refused(lying, { flockPresent: true }).claim, "signature")
  })

  it("claims are looked at in the order of Claim", () => {
    const order = [...Takeover.Claim.literals]
    let broken: Takeover.Statement = { ...sign(claims, bob), unknownHolderAccepted: false }
    const found: Array<Takeover.Claim> = []
    // All are wrong; each claim is mended once it was named.
    let changes: Partial<Takeover.Circumstances> = {
      flockPresent: true,
      deployment: "prod-2",
      operators: [],
      now: time("2020-01-01T00:00:00Z"),
      marker: { ...marker, pid: 1, acquiredAt: time("2020-01-01T00:00:00Z") }
    }
    broken = { ...broken, kind: "x", schemaVersion: 9, publicKey: "x" }
    const mend: { readonly [claim in Takeover.Claim]?: () => void } = {
      form: () => void (broken = { ...broken, publicKey: bobsKey }),
      kind: () => void (broken = { ...broken, kind: Takeover.kind }),
      version: () => void (broken = { ...broken, schemaVersion: 1 }),
      window: () => void (changes = { ...changes, now: circumstances.now }),
      deployment: () => void (changes = { ...changes, deployment: "prod-1" }),
      operator: () => void (changes = { ...changes, operators: [claims.operator] }),
      public_key: () => void (broken = { ...broken, publicKey: claims.publicKey }),
      pid: () =>
        void (changes = { ...changes, marker: { ...marker, acquiredAt: claims.notAfter } }),
      acquired_at: () =>
        void (changes = { ...changes, marker: { ...marker, host: "another host" } }),
      marker_sha256: () => void (changes = { ...changes, marker }),
      flock: () => void (changes = { ...changes, flockPresent: false }),
      signature: () => void (broken = statement)
    }
    for (let nth = 0; nth < order.length; nth++) {
      const { claim } = refused(broken, changes)
      found.push(claim)
      mend[claim]?.()
    }
    assert.deepStrictEqual(found, order)
    assert.isTrue(Result.isSuccess(check(broken, changes)))
  })

  it("a signature with any bit changed is refused", () => {
    const bytes = Buffer.from(statement.signature, "hex")
    for (let bit = 0; bit < 512; bit++) {
      const changed = Buffer.from(bytes)
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      const { claim } = refused({ ...statement, signature: changed.toString("hex") })
      assert.strictEqual(claim, "signature", `${bit}`)
    }
  })

  it("a signature of another key, purpose or message is refused", () => {
    const input = Result.getOrThrow(Takeover.signingInput(claims))
    const plain = crypto.sign(null, input.subarray(Takeover.kind.length + 1), ada.privateKey)
    const signatures = [
      sign(claims, bob).signature,
      plain.toString("hex"),
      sign({ ...claims, unknownHolderAccepted: true }).signature,
      "0".repeat(128)
    ]
    for (const signature of signatures) {
      assert.strictEqual(refused({ ...statement, signature }).claim, "signature")
    }
  })

  it("a verifier that answers with a promise confirms nothing", () => {
    const changes = { verify: async () => true }
    // @ts-expect-error: what a caller without types may hand in
    assert.strictEqual(refused(statement, changes).claim, "signature")
  })

  it("the verifier gets the key, what was signed, and the signature; and only at the end", () => {
    let calls = 0
    const counting: Takeover.Circumstances["verify"] = (...asked) => {
      calls++
      assert.deepStrictEqual(asked[0], ada.publicKey)
      assert.deepStrictEqual(asked[1], Result.getOrThrow(Takeover.signingInput(claims)))
      assert.strictEqual(Buffer.from(asked[2]).toString("hex"), statement.signature)
      return true
    }
    refused(statement, { verify: counting, operators: [] })
    assert.strictEqual(calls, 0)
    assert.isTrue(Result.isSuccess(check(statement, { verify: counting })))
    assert.strictEqual(calls, 1)
  })

  it("an operator's id is the BLAKE3 of the key, by the hashes given", () => {
    const id = `operator:${Hashes.noble.blake3Hex(ada.publicKey)}`
    assert.strictEqual(claims.operator, id)
    assert.match(id, /^operator:[0-9a-f]{64}$/)
    const hashes = { ...Hashes.noble, blake3Hex: () => "beef" }
    assert.strictEqual(Takeover.operatorId(ada.publicKey, hashes), "operator:beef")
    const operators = ["operator:beef"]
    const fake = sign({ ...claims, operator: "operator:beef" })
    assert.isTrue(Result.isSuccess(check(fake, { operators, hashes })))
    assert.strictEqual(refused(fake, { operators }).claim, "public_key")
    assert.throws(() => Takeover.operatorId(new Uint8Array(31)), RangeError)
  })

  it("a statement names the marker by the SHA-256 of its text", () => {
    const text = Result.getOrThrow(LockMarker.render(marker))
    const expected = crypto.createHash("sha256").update(text).digest("hex")
    assert.deepStrictEqual([claims.markerSha256, MARKER_SHA256], [expected, expected])
  })

  it("toVerify gives what a verifier elsewhere is asked, or says what is no statement", () => {
    const { message, publicKey, signature } = Result.getOrThrow(Takeover.toVerify(statement))
    assert.isTrue(verify(publicKey, message, signature))
    const shape = { ...statement, signature: "x" }
    const fault = Result.getOrThrow(Result.flip(Takeover.toVerify(shape)))
    assert.strictEqual(fault.path, "/signature")
  })

  it("what is signed never changes: statements are kept as evidence", () => {
    const input = Result.getOrThrow(Takeover.signingInput(statement))
    assert.strictEqual(
      textOf(input),
      'sealog.store-lock.takeover\0{"acquired_at":"2026-05-04T12:30:45.120Z","deployment":"prod-1",' +
        '"kind":"sealog.store-lock.takeover",' +
        `"marker_sha256":"${MARKER_SHA256}","not_after":"2026-05-04T14:00:00Z",` +
        `"not_before":"2026-05-04T13:00:00Z","operator":"${claims.operator}","pid":4711,` +
        `"public_key":"${claims.publicKey}","schema_version":1,"unknown_holder_accepted":false}`
    )
    assert.strictEqual(GOLDEN_SIGNATURE, statement.signature)
  })

  const anyTime = Arbitrary.map(natural(4_000_000_000), (seconds) =>
    Timestamp.fromMillis(seconds * 1000)
  )
  const any: Arbitrary.Arbitrary<Takeover.Claims> = Arbitrary.map(
    Arbitrary.all([
      Arbitraries.text,
      Arbitraries.text,
      natural(2 ** 52),
      anyTime,
      Arbitrary.schema(Schema.Boolean),
      natural(3),
      Arbitraries.text
    ]),
    ([deployment, operator, number, at, isAccepted, dice, kind]) => ({
      ...claims,
      deployment,
      operator,
      pid: number,
      acquiredAt: at,
      notBefore: at,
      unknownHolderAccepted: isAccepted,
      kind: dice === 0 ? kind : claims.kind,
      schemaVersion: dice === 1 ? number : 1
    })
  )

  it.prop("decode reads what encode wrote, which is canonical JSON", [any], ([one]) => {
    const full = { ...one, signature: statement.signature }
    const text = Result.getOrThrow(Takeover.encode(full))
    assert.deepStrictEqual(Result.getOrThrow(Takeover.decode(text)), full)
    assert.deepStrictEqual(Result.getOrThrow(Takeover.decode(utf8.encode(text))), full)
    assert.strictEqual(Result.getOrThrow(Json.fromText(text)), text)
    const { signature: _, ...unsigned } = Object(Json.valueOf(text))
    const signed = `${Takeover.kind}\0${Result.getOrThrow(Json.fromValue(unsigned))}`
    assert.strictEqual(textOf(Result.getOrThrow(Takeover.signingInput(full))), signed)
  })

  it.prop(
    "any claim that differs makes other bytes to sign",
    [any, any, natural(10)],
    ([one, two, nth]) => {
      const names = Object.keys(claims)
      const name = names[nth] ?? ""
      const [before, after] = [Object.entries(one)[nth], Object.entries(two)[nth]]
      assert.deepStrictEqual([before?.[0], after?.[0]], [name, name])
      const mixed = { ...one, [name]: after?.[1] }
      const [a, b] = [one, mixed].map((of) => textOf(Result.getOrThrow(Takeover.signingInput(of))))
      assert.strictEqual(a === b, before?.[1] === after?.[1])
    }
  )

  it.prop("any other claims under the same signature are refused", [any], ([one]) => {
    const forged = { ...one, signature: statement.signature }
    const lenient = {
      marker: { ...marker, pid: one.pid, acquiredAt: one.acquiredAt, deployment: one.deployment },
      deployment: one.deployment,
      now: one.notBefore
    }
    const result = check({ ...forged, operator: claims.operator }, lenient)
    assert.isTrue(Result.isFailure(result))
    assert.isTrue(Result.isFailure(check(forged)))
  })

  const patches = [
    "",
    "0",
    "1",
    "a",
    '"',
    ",",
    "}",
    " ",
    "\n",
    "\u001b",
    "é",
    '"pid":1,',
    "\\u0061"
  ]
  it.prop(
    "a text that is changed anywhere is refused, or says the same",
    [natural(written.length - 1), natural(12), natural(patches.length - 1)],
    ([at, cut, nth]) => {
      const text = written.slice(0, at) + patches[nth] + written.slice(at + cut)
      const read = Takeover.decode(text)
      if (Result.isFailure(read)) assert.match(read.failure.message, /^[\x20-\x7e\u00e9…]*$/)
      else if (Result.isSuccess(check(read.success))) {
        assert.deepStrictEqual(read.success, statement)
      }
    },
    { arbitrary: { runs: 500 } }
  )

  it("decode takes any order and spacing", () => {
    const members = Object.entries(JSON.parse(written)).toReversed()
    const text = JSON.stringify(Object.fromEntries(members), null, 2)
    assert.deepStrictEqual(Result.getOrThrow(Takeover.decode(`\n${text}\n`)), statement)
    assert.isTrue(Result.isSuccess(Takeover.decode(written.replace('"pid"', '"\\u0070id"'))))
  })

  for (const name of memberNames) {
    it(`decode refuses a statement without ${name}, with it twice, or with null for it`, () => {
      const { [name]: value, ...rest } = JSON.parse(written)
      const without = invalid(JSON.stringify(rest))
      assert.deepInclude(without, { path: `/${name}`, actual: "nothing" })
      const twice = `{${JSON.stringify(name)}:${JSON.stringify(value)},${written.slice(1)}`
      assert.deepInclude(invalid(twice), { path: `/${name}`, expected: "each member once" })
      for (const foreign of [null, [], {}, [value], { value }]) {
        const fault = invalid(JSON.stringify({ ...rest, [name]: foreign }))
        assert.strictEqual(fault.path, `/${name}`)
      }
    })
  }

  const texts: ReadonlyArray<readonly [why: string, text: string, path: string]> = [
    ["nothing", "", ""],
    ["a list", "[]", ""],
    ["a byte order mark", `\ufeff${written}`, ""],
    ["two statements", `${written}${written}`, ""],
    ["an unknown member", written.replace("{", '{"note":"x",'), ""],
    ["a prototype", written.replace("{", '{"__proto__":{"pid":1},'), ""],
    ["a pid with a fraction", written.replace("4711", "4711.0"), "/pid"],
    ["a pid with an exponent", written.replace("4711", "4711e0"), "/pid"],
    ["a pid below zero", written.replace("4711", "-4711"), "/pid"],
    ["a pid that a double rounds", written.replace("4711", "9007199254740993"), "/pid"],
    ["a pid in quotes", written.replace("4711", '"4711"'), "/pid"],
    ["true in quotes", written.replace("false", '"false"'), "/unknown_holder_accepted"],
    ["0 for false", written.replace("false", "0"), "/unknown_holder_accepted"],
    [
      "hex in capitals",
      written.replace(claims.publicKey, claims.publicKey.toUpperCase()),
      "/public_key"
    ],
    [
      "a key that is too short",
      written.replace(claims.publicKey, claims.publicKey.slice(2)),
      "/public_key"
    ],
    [
      "a key with a LF behind",
      written.replace(claims.publicKey, `${claims.publicKey}\\n`),
      "/public_key"
    ],
    ["the marker's spelling of a time", written.replace(".120Z", ".120+00:00"), "/acquired_at"],
    ["a lone surrogate", written.replace("prod-1", "\\ud800"), "/deployment"],
    ["another kind with other members", '{"kind":"sealog.other","note":1}', "/kind"],
    [
      "a newer version with other members",
      written.replace("{", '{"host":"a",').replace('n":1', 'n":2'),
      "/schema_version"
    ]
  ]
  for (const [why, text, path] of texts) {
    it(`decode refuses ${why}`, () => {
      const fault = invalid(text)
      assert.strictEqual(fault.path, path)
      assert.notStrictEqual(fault.expected, fault.actual)
    })
  }

  it("decode is bounded, and names the byte that is not UTF-8", () => {
    assert.include(invalid(new Uint8Array(2 ** 30)).expected, `${Takeover.bytesMax}`)
    assert.include(invalid("[".repeat(2 ** 28)).expected, `${Takeover.bytesMax}`)
    assert.strictEqual(invalid("[".repeat(60_000)).path, "")
    const bytes = utf8.encode(written)
    bytes[20] = 0xff
    assert.deepInclude(invalid(bytes), { offset: 20, expected: "UTF-8" })
  })

  it.prop("decode never throws, whatever the bytes", [Schema.Uint8Array], ([bytes]) => {
    invalid(bytes)
  })

  it("a shape that types would not let in is refused by name, and signs nothing", () => {
    const shapes: ReadonlyArray<readonly [path: string, value: unknown]> = [
      ["/acquired_at", null],
      ["/acquired_at", undefined],
      ["/acquired_at", "statement"],
      ["/pid", { ...statement, pid: "4711" }],
      ["/pid", { ...statement, pid: Number.NaN }],
      ["/pid", { ...statement, pid: 2 ** 53 }],
      ["/deployment", { ...statement, deployment: "\ud800" }],
      ["/public_key", { ...statement, publicKey: ada.publicKey }],
      ["/unknown_holder_accepted", { ...statement, unknownHolderAccepted: 1 }]
    ]
    for (const [path, value] of shapes) {
      const shape = value as Takeover.Statement
      const fault = refused(shape)
      assert.strictEqual(fault.claim, "form")
      assert.include(fault.expected, path)
      const encoded = Result.getOrThrow(Result.flip(Takeover.encode(shape)))
      const input = Result.getOrThrow(Result.flip(Takeover.signingInput(shape)))
      assert.deepStrictEqual([encoded.path, input.path], [path, path])
    }
    const short = { ...statement, signature: statement.signature.slice(1) }
    assert.include(refused(short).expected, "/signature")
  })

  it("a refusal steers no terminal and is not long", () => {
    const evil = "\u001b[2J\u009b\u202e".repeat(1000)
    for (const fault of [
      refused(sign({ ...claims, kind: evil })),
      refused(sign({ ...claims, operator: evil })),
      refused(sign({ ...claims, deployment: evil })),
      invalid(`{${JSON.stringify(evil)}:1}`),
      invalid(`{${JSON.stringify(evil)}:[}`),
      invalid(`{"kind":{"a":1,${JSON.stringify(evil)}:1,${JSON.stringify(evil)}:1}}`)
    ]) {
      assert.match(fault.message, /^[\x20-\x7e…]*$/)
      assert.isBelow(fault.message.length, 1000)
    }
  })
})

const GOLDEN_SIGNATURE =
  "c8f75c59772065a8e68b40b733190104f67d31cfa0aa0671005f046356ac9fc47380a2d081b0c4429c283c7943ba59715e59b31b19b6126caafabe5ebada1e05"
const MARKER_SHA256 = "17dc73d6d5fefa07de177303d7f82fb5011d3fbb19db72b939d374b9d4466f67"
