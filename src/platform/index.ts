export * as SealogNode from "./SealogNode.ts"
export * as SqliteClient from "./SqliteClient.ts"
export * as OsLock from "./OsLock.ts"
export * as FastHashes from "./FastHashes.ts"
