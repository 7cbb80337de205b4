// @ts-check
/**
 * What is known to fail elsewhere than on Node, and why: runtime, file, test. docs/runtimes.md tells what of it
 * users see.
 *
 * @type {Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, string>>>>>>}
 */
export const differences = { bun: {}, deno: {} }
