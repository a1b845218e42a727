/**
 * Internal: which wire strings name a type of event.
 *
 * The names of the ten Cortex types and the pattern of open types are on disk and may never change.
 */

/** The ten event types of Cortex, the only ones that a single file in Cortex mode may hold. */
export const cortexTypes: ReadonlySet<string> = new Set(
  [
    "user_message",
    "agent_response",
    "tool_call",
    "tool_result",
    "code_diff",
    "test_result",
    "decision",
    "correction",
    "outcome",
    "system_note"
  ].map((name) => `cortex.event.${name}.v1`)
)

const openType = /^[a-z][a-z0-9_]{0,63}(?:\.[a-z][a-z0-9_]{0,63}){0,15}\.v[1-9][0-9]{0,8}$/

/** Whether `type` is a wire string that segments accept: `lower.case.name.vN`. */
export const isType = (type: string): boolean => cortexTypes.has(type) || openType.test(type)
