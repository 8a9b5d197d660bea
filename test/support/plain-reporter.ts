import type { Reporter, TestModule } from 'vitest/node';

/**
 * Closes a run with one plain line, `N passed, N failed, N skipped`, which any CI can read. Before it stand the tests that
 * passed only when they were tried again: each of them is a fault to be found, in the test or in what it tests.
 */
export default class PlainReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    const unsteady: string[] = [];
    for (const module of modules) {
      // A file that does not even load has no tests of its own to fail.
      if (module.errors().length > 0) count.failed += 1;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state !== 'pending') count[state] += 1;
        if (test.diagnostic()?.flaky) unsteady.push(`${module.relativeModuleId}: ${test.fullName}`);
      }
    }
    process.once('exit', () => {
      for (const name of unsteady) process.stdout.write(`\npassed only when tried again: ${name}`);
      if (count.failed > 0) process.stdout.write(`\nseed of the property tests: FC_SEED=${process.env.FC_SEED}`);
      process.stdout.write(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`);
    });
  }
}
