/** What is said of several rounds: the median, and how far they lie apart. */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** @returns the middle value, of an even number the mean of the two in the middle; NaN of none */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN;
  return (lower + upper) / 2;
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * Ratios of what two servers did in the same rounds. Each round is compared with itself, so that what slowed the machine down
 * for a while weighs on both; the median of these ratios is steadier than the ratio of the medians.
 * @returns `undefined` unless every round of both has a figure above zero
 */
export function ratioOfRounds(above: readonly number[], below: readonly number[]): Spread | undefined {
  if (above.length === 0 || above.length !== below.length) return undefined;
  if ([...above, ...below].some((figure) => !(figure > 0))) return undefined;
  return spread(above.map((figure, round) => figure / (below[round] ?? Number.NaN)));
}
