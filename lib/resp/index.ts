export { Decoder } from './decoder.ts'
export { checkCommand, Encoder, encodeCommands } from './encoder.ts'
export { type Argument, type DecoderLimits, defaultLimits, type Reply } from './types.ts'
