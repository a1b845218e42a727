#!/usr/bin/env -S node --disable-warning=ExperimentalWarning
/**
 * The entry of the `sealog` command, on Node and on Deno.
 *
 * SIGINT and SIGTERM interrupt the program, which then closes what it has open: what was
 * acknowledged stays, and the group under way settles.
 */
// By module: their index would load every server and client of the platform, at each start.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect } from "effect"
import { program } from "./program.ts"

program.pipe(
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
