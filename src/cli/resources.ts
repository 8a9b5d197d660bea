/** `gatehouse resources …` */
import type { Command } from 'commander';
import { changeResource, registerResource, removeResource } from '../operator/resources.ts';
import { findResource, listResources } from '../postgres/resources.pg.ts';
import { found, print, readInput } from './output.ts';
import { inWorkplace } from './workplace.ts';

export function resourceCommands(program: Command): void {
  const resources = program.command('resources').description('Register and manage APIs that tokens are for');

  resources
    .command('create')
    .description('Register an API')
    .requiredOption(
      '--file <file>',
      '{ "resource", "name", "scopes": { name: words }, "access_token_format", … } as JSON; - for standard input',
    )
    .action(async ({ file }, command) => {
      const input = await readInput(file);
      print(
        command,
        await inWorkplace(({ database, profile, issuer, context }) =>
          registerResource(database, input, { profile, issuer }, context.now()),
        ),
      );
    });

  resources
    .command('list')
    .description('List APIs')
    .action(async (_options, command) => {
      const all = await inWorkplace(({ database }) => listResources(database));
      print(
        command,
        all.map(({ resource, name, access_token_format, scopes }) => ({
          resource,
          name,
          access_token_format,
          scopes: Object.keys(scopes),
        })),
      );
    });

  resources
    .command('show <resource>')
    .description('Show an API')
    .action(async (resource, _options, command) => {
      print(command, found(await inWorkplace(({ database }) => findResource(database, resource)), 'resource'));
    });

  resources
    .command('update <resource>')
    .description('Change an API: fields of the file replace its own, null removes one')
    .requiredOption('--file <file>', 'metadata as JSON; - for standard input')
    .action(async (resource, { file }, command) => {
      const changes = await readInput(file);
      const changed = await inWorkplace(async ({ database, profile, context }) => {
        const before = found(await findResource(database, resource), 'resource');
        return changeResource(database, before, changes, profile, context.now());
      });
      print(command, changed);
    });

  resources
    .command('delete <resource>')
    .description('Delete an API; its scopes are unknown from then on')
    .action(async (resource, _options, command) => {
      const outcome = await inWorkplace(({ database }) => removeResource(database, resource));
      found(outcome === 'deleted' ? outcome : undefined, 'resource');
      print(command, { resource, deleted: true });
    });
}
