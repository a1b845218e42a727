export * as Arbitraries from "./Arbitraries.ts"
export * as TestLedger from "./TestLedger.ts"
