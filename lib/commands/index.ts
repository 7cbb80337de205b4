// The one door of the layer: what the servers' commands are. Pure functions over a generated table.

export {
  type ConnectionEffect,
  type ConnectionState,
  connectionEffect,
  isOrdinary,
  isOrdinaryRead,
  isStateful,
  isUndoneByReset,
  StateBit,
  stateAfter,
} from './effects.ts'
export { keysOf } from './keys.ts'
export { isWord } from './lookup.ts'
export { blockingTimeout, commandName, isBlocking, isReadOnly, isWrite } from './traits.ts'
