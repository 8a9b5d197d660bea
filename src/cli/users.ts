/** `gatehouse users …` */
import type { Command } from 'commander';
import { z } from 'zod';
import { OperatorError, parse } from '../operator/input.ts';
import { hashPassword, registerUser } from '../operator/users.ts';
import {
  findUser,
  listUsers,
  setPassword,
  setUserDisabled,
  type UserRecord,
  updateUserClaims,
} from '../postgres/people.pg.ts';
import { userClaims } from '../protocol/claims.ts';
import { found, limitOption, print, type Row, readInput } from './output.ts';
import { inWorkplace } from './workplace.ts';

export function userCommands(program: Command): void {
  const users = program.command('users').description('Create and manage users');

  users
    .command('create')
    .description('Create a user')
    .requiredOption(
      '--file <file>',
      '{ "username", "password", "claims": { standard OpenID claims } } as JSON; - for standard input',
    )
    .action(async ({ file }, command) => {
      const input = await readInput(file);
      const user = await inWorkplace(({ database, context, ...rules }) =>
        registerUser(database, input, rules, context),
      );
      print(command, { sub: user.id, username: user.username, claims: user.claims });
    });

  users
    .command('list')
    .description('List users')
    .option('--after <name>', 'begin after this user name', '')
    .addOption(limitOption())
    .action(async ({ after, limit }, command) => {
      const records = await inWorkplace(({ database }) => listUsers(database, after, limit));
      print(command, records.map(shown));
    });

  users
    .command('show <user>')
    .description('Show a user, by id, user name or e-mail address')
    .action(async (name, _options, command) => {
      const user = found(await inWorkplace(({ database }) => findUser(database, name)), 'user');
      print(command, { ...shown(user), claims: user.claims });
    });

  users
    .command('update <user>')
    .description('Change claims: those of the file replace the user\u2019s own, null removes one')
    .requiredOption('--file <file>', '{ "claims": { … } } as JSON; - for standard input')
    .action(async (name, { file }, command) => {
      const { claims: changes } = parse(
        z.strictObject({ claims: z.record(z.string(), z.unknown()) }),
        await readInput(file),
      );
      const user = await inWorkplace(async ({ database, context }) => {
        const before = found(await findUser(database, name), 'user');
        const merged = Object.entries({ ...before.claims, ...changes }).filter(([, value]) => value !== null);
        const claims = parse(userClaims, Object.fromEntries(merged));
        const outcome = await updateUserClaims(database, before.id, claims, context.now());
        if (outcome === 'taken') throw new OperatorError('email: is another user\u2019s.');
        return { ...before, claims };
      });
      print(command, { ...shown(user), claims: user.claims });
    });

  const setDisabled = async (command: Command, name: string, disabled: boolean) => {
    const user = await inWorkplace(async ({ database, context }) => {
      const record = found(await findUser(database, name), 'user');
      await setUserDisabled(database, record.id, disabled, context.now());
      return { ...record, disabled };
    });
    print(command, shown(user));
  };

  users
    .command('disable <user>')
    .description('Disable a user: sessions, grants and tokens end at once')
    .option('--enable', 'the same as `users enable`')
    .action((name, { enable }, command) => setDisabled(command, name, !enable));

  users
    .command('enable <user>')
    .description('Let a disabled user sign in again; nothing that ended comes back')
    .action((name, _options, command) => setDisabled(command, name, false));

  users
    .command('set-password <user>')
    .description('Set a new password; sessions, grants and tokens end at once')
    .requiredOption('--file <file>', '{ "password" } as JSON; - for standard input')
    .action(async (name, { file }, command) => {
      const { password } = parse(z.strictObject({ password: z.string() }), await readInput(file));
      const user = await inWorkplace(async ({ database, context, ...rules }) => {
        const record = found(await findUser(database, name), 'user');
        await setPassword(database, record.id, await hashPassword(password, rules), context.now());
        return record;
      });
      print(command, shown(user));
    });
}

function shown(user: UserRecord): Row {
  return {
    sub: user.id,
    username: user.username,
    email: user.claims.email ?? null,
    disabled: user.disabled,
    created_at: user.createdAt,
  };
}
