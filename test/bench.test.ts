/** The benchmark works: every server answers, every figure is there. What the figures are is nobody's business here. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, inject, it } from 'vitest';
import { selfTimes } from '../bench/harness/cpu-profile.ts';
import { Histogram } from '../bench/harness/histogram.ts';
import { median, ratioOfRounds, spread } from '../bench/harness/statistics.ts';
import { readOptions } from '../bench/options.ts';
import type { RunResult } from '../bench/run.ts';

const CHECKOUT = join(import.meta.dirname, '..');

async function bench(...parameters: string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'bench-test-'));
  try {
    const file = join(folder, 'result.json');
    const node = ['--conditions=gatehouse-source', '--import', 'tsx', 'bench/bench.ts', ...parameters, '--json', file];
    const child = spawn(process.execPath, node, {
      cwd: CHECKOUT,
      env: { ...process.env, DATABASE_URL: inject('databaseUrl') },
    });
    const printed = Promise.all([text(child.stdout), text(child.stderr)]);
    const [code] = await once(child, 'close');
    const [stdout, stderr] = await printed;
    return { code, stdout, stderr, result: JSON.parse(await readFile(file, 'utf8').catch(() => 'null')) as RunResult };
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('npm run bench', () => {
  it('measures workers beside a lone process and as many nodes', { timeout: 120_000 }, async () => {
    const sizes = ['--rounds', '1', '--seconds', '0.2', '--connections', '3', '--tokens', '20'];
    const { code, stdout, stderr, result } = await bench('--workers', '2', '--only', 'introspection-opaque', ...sizes);
    expect(stderr).toBe('');
    expect(code, stdout).toBe(0);
    const [{ servers, seconds } = { servers: {}, seconds: 0 }] = result.workloads;
    expect(seconds).toBe(0.2);
    expect(Object.entries(servers).map(([name, { connections }]) => [name, connections])).toEqual([
      ['lone', 3],
      ['nodes', 6],
      ['workers', 6],
    ]);
    for (const server of Object.values(servers)) expect(server).toMatchObject({ errors: 0, firstError: null });
    expect(stdout).toMatch(/introspection-opaque: workers\/lone \S+, nodes\/lone \S+, workers\/nodes \S+\n/);
  });

  it('measures all servers in one run, with every figure and no error', { timeout: 120_000 }, async () => {
    const names = ['client-credentials-opaque', 'introspection-opaque', 'code-flow'];
    const sizes = ['--rounds', '1', '--seconds', '1', '--connections', '4', '--tokens', '20'];
    const { code, stdout, stderr, result } = await bench('--only', names.join(','), ...sizes);
    expect(stderr).toBe('');
    expect(code, stdout).toBe(0);
    expect(result).toMatchObject({
      node: process.version,
      cores: expect.any(Number),
      pinned: expect.any(Boolean),
      postgres: { version: expect.any(String), embedded: false, settings: { fsync: expect.any(String) } },
      options: { rounds: 1, seconds: 1, connections: 4, tokens: 20 },
    });
    expect(result.workloads.map(({ name }) => name)).toEqual(names);
    for (const { servers, ratios } of result.workloads) {
      expect(Object.keys(servers)).toEqual(['gatehouse', 'oidc-provider', 'ceiling']);
      for (const server of Object.values(servers)) {
        expect(server).toMatchObject({ errors: 0, firstError: null, background: 0 });
        expect(server.requestsPerSecond.rounds).toHaveLength(1);
        const { requestsPerSecond, latency, requests } = server;
        for (const figure of [requests, requestsPerSecond.median, latency.p50, latency.p95, latency.p99])
          expect(figure).toBeGreaterThan(0);
        if (process.platform === 'linux') {
          expect(server.memory).toBeGreaterThan(0);
          expect(server.cpuPerRequest.server).toBeGreaterThanOrEqual(0);
        }
      }
      expect(Object.keys(ratios)).toEqual(['gatehouse/oidc-provider', 'gatehouse/ceiling']);
      for (const ratio of Object.values(ratios)) expect(ratio?.median).toBeGreaterThan(0);
      expect(stdout).toMatch(/gatehouse\/ceiling: \d/);
    }
  });

  it('names the workloads there are when one is asked for that is none', async () => {
    const { code, stderr } = await bench('--only', 'token-tasting');
    expect(code).toBe(1);
    expect(stderr).toMatch(/there is no token-tasting; there are client-credentials-opaque, /);
  });
});

describe('options', () => {
  it('have defaults, and a quick form of them that single options override', () => {
    expect(readOptions([])).toMatchObject({ only: [], rounds: 5, seconds: 3, connections: 64, scale: undefined });
    expect(readOptions(['--quick'])).toMatchObject({ rounds: 2, seconds: 1 });
    expect(readOptions(['--quick', '--rounds', '7', '--only', 'a,b'])).toMatchObject({ rounds: 7, only: ['a', 'b'] });
    expect(readOptions(['--profile', '--quick'])).toMatchObject({ profile: 'bench-profile', seconds: 1 });
    expect(readOptions(['--profile', 'there'])).toMatchObject({ profile: 'there' });
  });

  it('are refused by name', () => {
    expect(() => readOptions(['--rounds', '1.5'])).toThrow('--rounds must be a whole number.');
    expect(() => readOptions(['--seconds', 'soon'])).toThrow('--seconds must be a number above 0.');
    expect(() => readOptions(['--fast'])).toThrow('--fast');
  });
});

describe('statistics', () => {
  it('take the middle of what was measured', () => {
    expect(median([5, 1, 3])).toBe(3);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([])).toBeNaN();
    expect(spread([2, 9, 4])).toEqual({ median: 4, min: 2, max: 9 });
  });

  it('compare each round with itself', () => {
    // The machine was half as fast in the second round: both servers show it, the ratio does not.
    expect(ratioOfRounds([200, 100, 220], [100, 50, 100])).toEqual({ median: 2, min: 2, max: 2.2 });
  });

  it.each([
    ['a round without a result', [200, 0], [100, 100]],
    ['rounds of one server only', [200, 100], [100]],
    ['no rounds', [], []],
  ])('have no ratio for %s', (_what, above, below) => {
    expect(ratioOfRounds(above, below)).toBeUndefined();
  });

  it('give percentiles that are off by less than one in a hundred', () => {
    const latency = new Histogram();
    for (let microseconds = 1; microseconds <= 100_000; microseconds += 1) latency.record(microseconds / 1000);
    for (const share of [0.001, 0.5, 0.95, 0.99, 1])
      expect(Math.abs(latency.percentile(share) / (share * 100) - 1)).toBeLessThan(0.01);
  });

  it('take what is beyond the buckets as the greatest and the smallest, and add up', () => {
    const [some, others] = [new Histogram(), new Histogram()];
    some.record(10_000_000);
    others.record(0);
    some.add(others);
    expect(some.total).toBe(2);
    expect(some.percentile(0.5)).toBe(0);
    expect(some.percentile(1)).toBeGreaterThan(60_000);
    expect(new Histogram().percentile(0.99)).toBe(0);
  });
});

describe('profiles', () => {
  it('are summed up by function, without idle time', () => {
    const node = (id: number, functionName: string, url = '', lineNumber = -1) => ({
      id,
      callFrame: { functionName, url, lineNumber },
    });
    const nodes = [node(1, '(idle)'), node(2, 'sign', 'file:///x/dist/jose.js', 4), node(3, '', 'node:net', 0)];
    const profile = { nodes, samples: [1, 2, 3, 2], timeDeltas: [9000, 2000, 1000, 1000] };
    expect(selfTimes(profile)).toEqual([
      { name: 'sign', place: 'dist/jose.js:5', self: 3, share: 0.75 },
      { name: '(anonymous)', place: 'node:net:1', self: 1, share: 0.25 },
    ]);
  });
});
