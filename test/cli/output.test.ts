/** What commands print of texts that are not ours: nothing in them gets at the terminal, and JSON stays what it says. */
import { Command } from 'commander';
import { afterEach, expect, it, vi } from 'vitest';
import { print } from '../../src/cli/output.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

function printed(format: 'json' | 'table', ...[result]: [Parameters<typeof print>[1]]): string {
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  const command = new Command().option('--format <format>').exitOverride();
  command.parse(['--format', format], { from: 'user' });
  print(command, result);
  return String(log.mock.lastCall?.[0]);
}

// CSI, a change of direction, line ends, a tag outside the first plane, and what is just text.
const NAME = 'a\u009b2J\u202eb\u2028c\u007f\u{e0041}\u001b[31m\nå 名 😀';
const DANGEROUS = /[\p{Cf}\p{Zl}\p{Zp}]|(?!\n)\p{Cc}/u;

it.each(['json', 'table'] as const)('%s has no character that a terminal obeys', (format) => {
  for (const result of [{ name: NAME, [NAME]: [NAME, { name: NAME }] }, [{ name: NAME }]]) {
    const text = printed(format, result);
    expect(text).not.toMatch(DANGEROUS);
    expect(text).toContain('å 名 😀');
    expect(text).toContain('\\u009b2J\\u202eb\\u2028c\\u007f\\udb40\\udc41');
  }
});

it('the JSON says the same as before', () => {
  expect(JSON.parse(printed('json', { name: NAME }))).toEqual({ name: NAME });
});
