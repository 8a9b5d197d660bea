/**
 * Back-channel logout: OpenID Connect Back-Channel Logout 1.0. Whatever ends a sign-in (the person, its time, an operator) ends
 * it in the database, in one row; from there each client that had an ID token of it is told by a request of ours. Nobody
 * waits for that, and nothing is forgotten: see outbox.ts.
 *
 * Refresh tokens end with the sign-in by themselves, but for those of `offline_access` (§2.7).
 */
import { z } from 'zod';
import { isWebUri } from '../../protocol/client.ts';
import type { Feature } from '../../protocol/feature.ts';
import { type Deliveries, outbox, type Post } from './outbox.ts';

export function backchannelLogout({ deliveries, post }: { deliveries: Deliveries; post: Post }): Feature {
  const { announce, deliver, hurry, finish, report } = outbox(deliveries, post);
  return {
    name: 'backchannel-logout',
    clientMetadata: {
      // §2.2. Whether an address is one that may be called shows only when it is: names change.
      backchannel_logout_uri: z
        .string()
        .max(2000)
        .refine((uri) => isWebUri(uri) && !uri.includes('#'), 'must be an https URI without a fragment')
        .optional(),
      /** Kept as registered: `sid` is always there. */
      backchannel_logout_session_required: z.boolean().optional(),
    },
    serverMetadata: () => ({ backchannel_logout_supported: true, backchannel_logout_session_supported: true }),
    logoutChannels: [
      {
        name: 'back-channel',
        async notify(ended, server, now) {
          if (ended.length > 0) hurry(now, server);
          return [];
        },
      },
    ],
    jobs: [
      { name: 'announce sign-ins that are over', every: 1, run: announce },
      {
        name: 'deliver logout tokens',
        every: 1,
        async run(_now, server) {
          await deliver(server);
          report();
        },
        finish,
      },
    ],
  };
}
