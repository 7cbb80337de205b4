// What the parameters of typed commands are made of, beside literal tokens and `Argument`. Types only.

/** A number that the server takes as an integer; as a string only where its digits are known at compile time. */
export type Integer = number | bigint | `${bigint}`

/** A number that the server takes as a floating-point number; in JavaScript, `Infinity` will do as well as `'inf'`. */
export type Double = number | bigint | `${number}` | 'inf' | '+inf' | '-inf'

/** A group of arguments that may be left out. */
export type Opt<G extends unknown[]> = [] | G

/** Two optional groups, in any order. */
export type Any2<G extends unknown[], H extends unknown[]> = [] | G | H | [...G, ...H] | [...H, ...G]

/** Three optional groups, in any order. */
export type Any3<G extends unknown[], H extends unknown[], I extends unknown[]> =
  | [...Any2<G, H>, ...Opt<I>]
  | [...Any2<G, I>, ...H]
  | [...Any2<H, I>, ...G]

/** A group that is there and an optional one, in any order. */
export type With2<G extends unknown[], H extends unknown[]> = [...G, ...Opt<H>] | [...H, ...G]

/** A group that is there and two optional ones, in any order. */
export type With3<G extends unknown[], H extends unknown[], I extends unknown[]> =
  | [...G, ...Any2<H, I>]
  | [...H, ...G, ...Opt<I>]
  | [...I, ...G, ...Opt<H>]
  | [...H, ...I, ...G]
  | [...I, ...H, ...G]
