/**
 * `sealog keygen FILE`: a new key, in a file that only its owner can read.
 *
 * The file holds the seed in hex and is never told again; what is printed is the public key, which
 * whoever verifies needs. A name that is taken is refused, whatever stands there.
 */
import { Effect } from "effect"
import { Argument, Command } from "effect/cli"
import * as Ed25519Keys from "../platform/Ed25519Keys.ts"
import { plain } from "./Ending.ts"
import * as Flags from "./flags.ts"
import { Output } from "./Output.ts"

export const command = Command.make(
  "keygen",
  {
    file: Argument.String("FILE").pipe(
      Argument.withDescription("Where the key goes; nothing may be there")
    ),
    json: Flags.json
  },
  Effect.fnUntraced(function* ({ file, json }) {
    const output = yield* Output
    const { keyId, publicKey } = yield* Ed25519Keys.generate(file)
    yield* json
      ? output.json({ key_id: keyId, public_key: publicKey })
      : output.line(plain(`made ${file}, keep it secret; its public key: ${publicKey}`))
  })
).pipe(
  Command.withDescription(
    "Make a key that signs rows, for append --key. Its file has mode 0600 and is never replaced; " +
      "whoever loses it can hand the ledger over to no other key."
  ),
  Command.withShortDescription("Make a key that signs rows")
)
