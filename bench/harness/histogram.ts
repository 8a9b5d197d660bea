/**
 * Latencies in buckets that are there from the start: recording one allocates nothing. 128 buckets to each doubling, so a
 * percentile is off by less than one in a hundred; from a microsecond to a minute.
 */
const BITS = 7;
const PER_DOUBLING = 1 << BITS;
/** 2^26 µs is a minute. */
const DOUBLINGS = 26 - BITS;

export class Histogram {
  readonly #counts = new Uint32Array(PER_DOUBLING * (DOUBLINGS + 1));
  #total = 0;

  get total(): number {
    return this.#total;
  }

  record(milliseconds: number): void {
    this.#total += 1;
    const bucket = bucketOf(milliseconds * 1000);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
  }

  add(other: Histogram): void {
    this.#total += other.#total;
    for (const [bucket, count] of other.#counts.entries())
      if (count > 0) this.#counts[bucket] = (this.#counts[bucket] ?? 0) + count;
  }

  /**
   * Milliseconds that `share` of the samples did not exceed (nearest rank); 0 where there are none.
   * @param share from 0 to 1: 0.99 for p99
   */
  percentile(share: number): number {
    const rank = Math.max(1, Math.ceil(share * this.#total));
    let seen = 0;
    for (const [bucket, count] of this.#counts.entries()) {
      seen += count;
      if (count > 0 && seen >= rank) return middleOf(bucket) / 1000;
    }
    return 0;
  }
}

function bucketOf(microseconds: number): number {
  const value = Math.max(0, Math.round(microseconds));
  if (value < PER_DOUBLING) return value;
  const doubling = Math.min(DOUBLINGS, Math.floor(Math.log2(value)) - BITS + 1);
  // Each doubling of the value uses the upper half of a range of 2 × PER_DOUBLING steps.
  const step = Math.min(PER_DOUBLING - 1, Math.floor(value / 2 ** (doubling - 1)) - PER_DOUBLING);
  return doubling * PER_DOUBLING + step;
}

function middleOf(bucket: number): number {
  if (bucket < PER_DOUBLING) return bucket;
  const doubling = Math.floor(bucket / PER_DOUBLING);
  const width = 2 ** (doubling - 1);
  return ((bucket % PER_DOUBLING) + PER_DOUBLING) * width + (width - 1) / 2;
}
