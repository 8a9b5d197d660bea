import { defineConfig } from 'vitest/config';

/** Of property tests: the same for everybody, so that a run can be repeated; `FC_SEED=$RANDOM npm test` looks elsewhere. */
const seed = process.env.FC_SEED ?? '20261122';
process.env.FC_SEED = seed;

/**
 * One PostgreSQL for the whole run (test/support/global-setup.ts), one database for each test file.
 * Files run in two workers: the machine that runs CI has two cores.
 */
export default defineConfig({
  resolve: { conditions: ['gatehouse-source'] },
  ssr: { resolve: { conditions: ['gatehouse-source'], externalConditions: ['gatehouse-source'] } },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/one-seed.ts'],
    env: { FC_SEED: seed },
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Processes, browsers and clocks on two busy cores: one of five thousand may be unlucky. The reporter names it.
    retry: 1,
    reporters: ['default', './test/support/plain-reporter.ts'],
  },
});
