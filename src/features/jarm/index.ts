/**
 * JWT-secured authorization responses: JARM §2.1 to §2.4, FAPI 2.0 Message Signing §5.4. The response travels as one signed
 * parameter, by whichever way its mode names; who answers, for whom and until when is inside, so nobody on the way can mix
 * one response with another.
 */
import { z } from 'zod';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { Client } from '../../protocol/client.ts';
import type { Feature, ResponseMode } from '../../protocol/feature.ts';
import { isSigningAlg, type SigningAlg, seconds, signJwt } from '../../protocol/jose.ts';
import { encryptionAlgs, encryptionEncs } from '../../protocol/jose-client.ts';
import { type Profile, profileOf } from '../../protocol/profile.ts';
import { asRegistered, encryptionAlg, encryptionEnc, encryptionProblem } from '../../protocol/response-encryption.ts';

/** Seconds (§2.1 advises ten minutes at most). */
const LIFETIME = 120;

/** Mode → the plain mode that carries the one parameter; `jwt` is `query.jwt` for codes (§2.3.4). */
const CARRIERS = { jwt: 'query', 'query.jwt': 'query', 'form_post.jwt': 'form_post' } as const;

export function jarm(profile: Profile): Feature {
  const carried = Object.entries(CARRIERS).map(
    ([name, carrier]): ResponseMode => ({
      name,
      async send(address, parameters, now, server) {
        const mode = server.registries.responseModes.get(carrier);
        if (!mode) throw new Error(`${name} needs the response mode ${carrier}`);
        return mode.send(address, { response: await sealed(address.client, parameters, now, server) }, now, server);
      },
    }),
  );
  const fragment: ResponseMode = {
    name: 'fragment.jwt',
    async send(address, parameters, now, server) {
      const response = await sealed(address.client, parameters, now, server);
      // A registered redirect URI has no fragment of its own (redirect-uri.ts).
      return { kind: 'redirect', location: `${address.redirectUri}#${new URLSearchParams({ response })}` };
    },
  };
  return {
    name: 'jarm',
    responseModes: [...carried, fragment],
    clientMetadata: {
      authorization_signed_response_alg: z.enum(profile.signingAlgs as [SigningAlg, ...SigningAlg[]]).optional(),
      authorization_encrypted_response_alg: encryptionAlg.optional(),
      authorization_encrypted_response_enc: encryptionEnc.optional(),
    },
    checkClientMetadata: (metadata) => encryptionProblem(metadata, 'authorization'),
    serverMetadata: () => ({
      authorization_signing_alg_values_supported: profile.signingAlgs,
      authorization_encryption_alg_values_supported: encryptionAlgs,
      authorization_encryption_enc_values_supported: encryptionEncs,
    }),
  };
}

async function sealed(
  client: Client,
  parameters: Readonly<Record<string, string>>,
  now: Date,
  server: AuthorizationServer,
): Promise<string> {
  const { authorization_signed_response_alg: registered } = client.metadata;
  const alg = isSigningAlg(registered) ? registered : profileOf(client, server.profile).idTokenAlg;
  const jwt = await signJwt(await server.keyring.signing(alg), 'JWT', {
    ...parameters,
    iss: server.issuer,
    aud: client.id,
    exp: seconds(now) + LIFETIME,
  });
  return asRegistered(jwt, client, 'authorization', server);
}
