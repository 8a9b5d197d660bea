/** `gatehouse keys …` */
import type { Command } from 'commander';
import { replaceKeys, rotateKeys, stateOf } from '../features/key-rotation/index.ts';
import { postgresSigningKeys, reencryptKeys } from '../features/key-rotation/keys.pg.ts';
import { print, type Row } from './output.ts';
import { inWorkplace, type Workplace } from './workplace.ts';

export function keyCommands(program: Command): void {
  const keys = program.command('keys').description('Look at and rotate signing keys');

  keys
    .command('list')
    .description('List signing keys')
    .action(async (_options, command) => print(command, await inWorkplace(listed)));

  keys
    .command('rotate')
    .description('Rotate at once: next becomes active, active becomes retired')
    .option(
      '--compromised',
      'drop all keys at once, next, retired and archived ones too: nothing they signed is good any more',
    )
    .action(async ({ compromised }, command) => {
      const after = await inWorkplace(async (place) => {
        const { database, profile, context } = place;
        const keys = postgresSigningKeys(database);
        const encryption = await place.encryption();
        if (compromised) await replaceKeys(keys, profile.signingAlgs, encryption, context.now());
        else await rotateKeys(keys, profile.signingAlgs, encryption, context.now(), true);
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
  const stored = await postgresSigningKeys(database).list();
  return stored.map((key) => ({
    kid: key.kid,
    alg: key.alg,
    state: stateOf(key),
    created_at: key.createdAt,
    activated_at: key.activatedAt ?? null,
    retired_at: key.retiredAt ?? null,
    archived_at: key.archivedAt ?? null,
    key_encryption_key: key.privateKey?.keyName ?? null,
  }));
}
