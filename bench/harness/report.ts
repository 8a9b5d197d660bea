/** The results as a table for people. */
import type { ServerResult, WorkloadResult } from './measure.ts';
import type { Spread } from './statistics.ts';

const COLUMNS = [
  'requests/s',
  'min–max',
  'p50 ms',
  'p95 ms',
  'p99 ms',
  'server µs',
  'db µs',
  'WAL B',
  'RSS MB',
  'errors',
];

/** A table of one workload: a line for each server, and the ratios below. */
export function tableOf(result: WorkloadResult): string {
  const rows = Object.entries(result.servers).map(([name, server]) => [name, ...cellsOf(server)]);
  const header = ['', ...COLUMNS];
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `  ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')}`;
  const ratios = Object.entries(result.ratios).map(([pair, ratio]) => `  ${pair}: ${ratioText(ratio)}`);
  return [`${result.name}: ${result.about}`, line(header), ...rows.map(line), ...ratios, ...remarksOn(result)].join(
    '\n',
  );
}

function cellsOf(server: ServerResult): string[] {
  const { requestsPerSecond: rate, latency, cpuPerRequest, walPerRequest, memory, errors } = server;
  const microseconds = (milliseconds: number | null) => (milliseconds === null ? '–' : figure(milliseconds * 1000));
  return [
    figure(rate.median),
    `${figure(rate.min)}–${figure(rate.max)}`,
    ...[latency.p50, latency.p95, latency.p99].map((milliseconds) => milliseconds.toFixed(2)),
    microseconds(cpuPerRequest.server),
    microseconds(cpuPerRequest.database),
    figure(walPerRequest),
    memory === null ? '–' : figure(memory / 2 ** 20),
    String(errors),
  ];
}

function remarksOn({ servers, p99Target }: WorkloadResult): string[] {
  return Object.entries(servers).flatMap(([name, { errors, firstError, requests, background, latency }]) => [
    ...(background > 0 ? [`  ${name}: ${background} iterations in the background`] : []),
    ...(p99Target === null
      ? []
      : [`  ${name}: p99 ${latency.p99 < p99Target ? 'below' : 'NOT below'} ${p99Target} ms`]),
    ...(requests === 0 ? [`  ${name}: NO iteration ended within a window`] : []),
    ...(errors > 0 ? [`  ${name}: ${errors} ERRORS, the first: ${(firstError ?? '').slice(0, 1500)}`] : []),
  ]);
}

function ratioText(ratio: Spread | null): string {
  return ratio === null
    ? '–'
    : `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)} over the rounds)`;
}

/** Three digits at least, with the thousands apart. */
function figure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return value < 100 ? value.toPrecision(3) : Math.round(value).toLocaleString('en-US');
}

/** Whether a run is good: no errors, and something was measured everywhere. */
export function isGood(results: readonly WorkloadResult[]): boolean {
  return results.every(({ servers }) =>
    Object.values(servers).every(({ errors, requests }) => errors === 0 && requests > 0),
  );
}
