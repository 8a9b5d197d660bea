/** `gatehouse calls …`: where a call came from, and where it went. */
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { growTrees } from '../operator/call-tree.ts';
import { findCalls, readClue } from '../operator/calls.ts';
import { drawTrees } from './call-drawing.ts';
import { print } from './output.ts';
import { inWorkplace } from './workplace.ts';

export function callCommands(program: Command): void {
  const calls = program.command('calls').description('Look at calls from API to API (RFC 8693)');

  calls
    .command('show <txn|jti|token>')
    .description('Draw a call from its first token on, by any token in it; - reads the token from standard input')
    .action(async (given: string, _options, command) => {
      const what = (given === '-' ? await text(process.stdin) : given).trim();
      const [found, trees] = await inWorkplace(async ({ database, context }) => {
        const now = context.now();
        const clue = await readClue(what, database, now);
        if (clue.unproven)
          console.error('gatehouse: the token was not signed with a key of ours: its word for which call it is in.');
        const calls = await findCalls(clue, database, now);
        return [calls, growTrees(calls, now)] as const;
      });
      if (!found.complete) console.error('gatehouse: there are more steps than are shown.');
      print(command, { complete: found.complete, calls: trees }, drawTrees(trees));
    });
}
