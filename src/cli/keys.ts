/** `gatehouse keys …` */
import type { Command } from 'commander';
import { keyAlgs, replaceKeys, rotateKeys, stateOf } from '../features/key-rotation/index.ts';
import { postgresKeys, reencryptKeys } from '../features/key-rotation/keys.pg.ts';
import { print, type Row } from './output.ts';
import { inWorkplace, type Workplace } from './workplace.ts';

export function keyCommands(program: Command): void {
  const keys = program
    .command('keys')
    .description('Look at and rotate the keys we sign with, and those others encrypt to us with');

  keys
    .command('list')
    .description('List keys')
    .action(async (_options, command) => print(command, await inWorkplace(listed)));

  keys
    .command('rotate')
    .description('Rotate at once: next becomes active, active becomes retired')
    .option(
      '--compromised',
      'drop all keys at once, next, retired and archived ones too: nothing they signed is good any more, nothing encrypted to them is read',
    )
    .action(async ({ compromised }, command) => {
      const after = await inWorkplace(async (place) => {
        const { database, profile, context } = place;
        const keys = postgresKeys(database);
        const encryption = await place.encryption();
        if (compromised) await replaceKeys(keys, keyAlgs(profile), encryption, context.now());
        else await rotateKeys(keys, keyAlgs(profile), encryption, context.now(), true);
        return listed(place);
      });
      print(command, after);
    });

  keys
    .command('reencrypt')
    .description('Move stored keys to the first key of GATEHOUSE_KEY_ENCRYPTION_KEY')
    .action(async (_options, command) => {
      const moved = await inWorkplace(async (place) => reencryptKeys(place.database, await place.encryption()));
      print(command, { reencrypted: moved });
    });
}

async function listed({ database }: Workplace): Promise<Row[]> {
  const stored = await postgresKeys(database).list();
  return stored.map((key) => ({
    kid: key.kid,
    use: key.publicJwk.use,
    alg: key.alg,
    state: stateOf(key),
    created_at: key.createdAt,
    activated_at: key.activatedAt ?? null,
    retired_at: key.retiredAt ?? null,
    archived_at: key.archivedAt ?? null,
    key_encryption_key: key.privateKey?.keyName ?? null,
  }));
}
