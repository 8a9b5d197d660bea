/**
 * Time and chance, handed in. Nothing in the kernel or in a room reads the clock or the generator by itself
 * (test/architecture.test.ts sees to it), so a test can replay a minute and live through a year.
 */
export interface Context {
  /** The present moment. One request reads it once; every statement of that request takes it as a parameter. */
  now(): Date;
  /** `size` bytes from a cryptographically secure generator; they are the caller's, to be written over. */
  random(size: number): Buffer;
}
