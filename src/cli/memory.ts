/**
 * What a serving process is told about memory: little lives in it for long (some 40 MB), but much passes through. Node's
 * parameters must be there when it starts: workers get them from the process that starts them, a container from the Dockerfile.
 * The 19 MiB that a password's hash takes are no part of it: the library maps them, and gives them back after each.
 */
import { setFlagsFromString } from 'node:v8';

/** MiB of each of three areas for new values. With Node's 16 (on machines of more than 2 GB) a process holds 18 MB more, and is not faster. */
const SEMI_SPACE = 8;
export const PARAMETERS = [`--max-semi-space-size=${SEMI_SPACE}`];

/**
 * Percent by which the heap may grow before what is garbage is looked for. Looking often costs nothing that can be measured, and
 * V8's own choice, which waits for several times what lives, doubles what the process holds.
 */
const HEAP_GROWTH = 30;

/** For a process that runs already. */
export function collectOften(): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH}`);
}
