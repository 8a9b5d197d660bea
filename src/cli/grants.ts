/** `gatehouse grants …` and `gatehouse sessions …` */
import type { Command } from 'commander';
import { OperatorError } from '../operator/input.ts';
import { listGrants, revokeGrantAndTell } from '../postgres/ledger.pg.ts';
import { findUser } from '../postgres/people.pg.ts';
import { endSession, listSessions } from '../postgres/sessions.pg.ts';
import { isUuid } from '../protocol/secrets.ts';
import { found, limitOption, print } from './output.ts';
import { inWorkplace, type Workplace } from './workplace.ts';

export function grantCommands(program: Command): void {
  const grants = program.command('grants').description('Look at and revoke what users have granted to clients');

  grants
    .command('list')
    .description('List grants, the latest first')
    .option('--user <user>', 'of this user')
    .option('--client <client_id>', 'to this client')
    .option('--all', 'also those that have ended')
    .addOption(limitOption())
    .action(async ({ user, client, all, limit }, command) => {
      const rows = await inWorkplace(async (place) =>
        listGrants(
          place.database,
          { userId: await userId(place, user), clientId: client, all: Boolean(all) },
          place.context.now(),
          limit,
        ),
      );
      print(
        command,
        rows.map(({ stands, ...row }) => ({ ...row, active: stands === true })),
      );
    });

  grants
    .command('revoke <grant_id>')
    .description('Revoke a grant: its refresh and access tokens end at once, and its client is told')
    .action(async (id, _options, command) => {
      requireId(id);
      const outcome = await inWorkplace(({ database, context }) =>
        revokeGrantAndTell(database, id, 'revoked by an operator', context.now()),
      );
      found(outcome === 'revoked' ? outcome : undefined, 'active grant');
      print(command, { id, revoked: true });
    });

  const sessions = program.command('sessions').description('Look at and end sessions');

  sessions
    .command('list')
    .description('List sign-ins that stand, the latest first')
    .option('--user <user>', 'of this user')
    .addOption(limitOption())
    .action(async ({ user, limit }, command) => {
      print(
        command,
        await inWorkplace(async (place) =>
          listSessions(place.database, await userId(place, user), place.context.now(), limit),
        ),
      );
    });

  sessions
    .command('end <session_id>')
    .description('End a session with all its sign-ins')
    .action(async (id, _options, command) => {
      requireId(id);
      const outcome = await inWorkplace(({ database, context }) => endSession(database, id, context.now()));
      found(outcome === 'ended' ? outcome : undefined, 'session');
      print(command, { id, ended: true });
    });
}

function requireId(id: string): void {
  if (!isUuid(id)) throw new OperatorError('The id must be a UUID, as the list shows it.');
}

async function userId({ database }: Workplace, name: string | undefined): Promise<string | undefined> {
  return name === undefined ? undefined : found(await findUser(database, name), 'user').id;
}
