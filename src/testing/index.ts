export * as Arbitraries from "./Arbitraries.ts"
export * as FaultyDisk from "./FaultyDisk.ts"
export * as TestLedger from "./TestLedger.ts"
