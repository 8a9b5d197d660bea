/**
 * Consent: what a client asks for, in the words of the API it is about; yes or no. RFC 6749 §3.3, RFC 8252 §8.6,
 * OpenID Connect Core §3.1.2.4. The answer is remembered per person, client and scope (never for
 * authorization details: RFC 9396 §12), and recorded for the pending
 * authorization it answers; the authorization endpoint draws the consequence.
 */
import { signInFor } from '../../protocol/account-choice.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { UserClaimName } from '../../protocol/claims.ts';
import { claimsBeyondScope } from '../../protocol/claims-request.ts';
import { isPublic } from '../../protocol/client.ts';
import type { Feature } from '../../protocol/feature.ts';
import {
  checkForm,
  clientCard,
  formRefused,
  formToken,
  type Interaction,
  interactionOf,
  interactionUrl,
  personCard,
} from '../../protocol/interaction.ts';
import type { BrowserRequest, BrowserResponse } from '../../protocol/message.ts';
import { formTarget, isClaimable } from '../../protocol/redirect-uri.ts';
import { describeAccess } from '../../protocol/resource.ts';
import { type SignIn, sessionOf } from '../../protocol/session.ts';

export interface Consents {
  /** Remembers a yes and records it for the pending authorization. One statement. */
  allow(
    answer: {
      userId: string;
      clientId: string;
      scope: readonly string[];
      claims: readonly string[];
      pendingId: string;
    },
    now: Date,
  ): Promise<void>;
}

const PATH = '/consent';

export function consent({ consents }: { consents: Consents }): Feature {
  return {
    name: 'consent',
    endpoints: [
      { caller: 'browser', path: PATH, get: show, post: (request, server) => decide(request, server, consents) },
    ],
  };
}

/** What the form is about: this request, this person, what is asked for. Anything else needs to be shown first. */
function matter(interaction: Interaction, signIn: SignIn): string[] {
  const { pending, request } = interaction;
  const details = JSON.stringify(request.authorizationDetails);
  return [pending.id, signIn.user.id, request.scope.join(' '), claimsOf(interaction).join(' '), details];
}

function claimsOf({ request }: Interaction): readonly UserClaimName[] {
  return claimsBeyondScope(request.claims, request.scope);
}

async function show(request: BrowserRequest, server: AuthorizationServer): Promise<BrowserResponse> {
  const interaction = await interactionOf(request, server);
  const { pending, client, address, browser } = interaction;
  const signIn = signInFor(interaction.request, await sessionOf(request, server.sessions, client.id), pending);
  // Nobody to ask: the authorization endpoint knows what comes first.
  if (!signIn) return { kind: 'redirect', location: `/authorize?pending=${pending.id}` };
  const { user } = signIn;
  const { protocol, host } = new URL(address.redirectUri);
  return {
    kind: 'page',
    cookies: browser.cookies,
    formTarget: formTarget(address),
    page: {
      view: 'consent',
      action: PATH,
      csrf: formToken(browser, server, PATH, ...matter(interaction, signIn)),
      pending: pending.id,
      client: clientCard(client, address.redirectUri),
      person: personCard(user),
      otherUrl: interactionUrl('select-account', pending.id, server),
      access: describeAccess(
        interaction.request.scope,
        claimsOf(interaction),
        await server.catalogue.resources(),
        interaction.request.authorizationDetails,
      ),
      returnsTo: {
        host: host === '' ? protocol : host,
        onThisDevice: isPublic(client) && isClaimable(address.redirectUri),
      },
    },
  };
}

async function decide(
  request: BrowserRequest,
  server: AuthorizationServer,
  consents: Consents,
): Promise<BrowserResponse> {
  const interaction = await interactionOf(request, server);
  const { pending, client } = interaction;
  const signIn = signInFor(interaction.request, await sessionOf(request, server.sessions, client.id), pending);
  if (!signIn) throw formRefused();
  checkForm(request, server, PATH, ...matter(interaction, signIn));
  request.trace.clientId = client.id;
  request.trace.userId = signIn.user.id;
  switch (request.parameters.get('decision')) {
    case 'allow':
      request.trace.event = 'consent_given';
      await consents.allow(
        {
          userId: signIn.user.id,
          clientId: client.id,
          scope: interaction.request.scope,
          claims: claimsOf(interaction),
          pendingId: pending.id,
        },
        request.now,
      );
      break;
    case 'deny':
      request.trace.event = 'consent_denied';
      await server.pendingAuthorizations.deny(pending.id, request.now);
      break;
    default:
      throw formRefused();
  }
  return { kind: 'redirect', location: `/authorize?pending=${pending.id}` };
}
