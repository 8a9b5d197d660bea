/** `gatehouse logouts …` */
import { type Command, Option } from 'commander';
import { deliveryStates, listLogoutDeliveries } from '../features/backchannel-logout/deliveries.pg.ts';
import { limitOption, print } from './output.ts';
import { inWorkplace } from './workplace.ts';

export function logoutCommands(program: Command): void {
  const logouts = program.command('logouts').description('Look at what clients are told of sign-outs');

  logouts
    .command('list')
    .description('List back-channel logouts of the last days, the latest first')
    .option('--client <client_id>', 'to this client')
    .addOption(new Option('--state <state>', 'that are in this state').choices([...deliveryStates]))
    .addOption(limitOption())
    .action(async ({ client, state, limit }, command) => {
      print(
        command,
        await inWorkplace(({ database }) => listLogoutDeliveries(database, { clientId: client, state }, limit)),
      );
    });
}
