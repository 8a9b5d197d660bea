import { describe, expect, it } from 'vitest';
import { checkClientMetadata } from '../../src/protocol/client.ts';
import { OAuthError } from '../../src/protocol/errors.ts';
import { clientOf, rulesOfEverything } from './samples.ts';

const rules = rulesOfEverything();
const CODE = { redirect_uris: ['https://app.example/callback'] };

describe('client metadata (RFC 7591 §2)', () => {
  it('is filled up with the defaults the specification names', () => {
    expect(checkClientMetadata(CODE, rules).metadata).toEqual({
      redirect_uris: ['https://app.example/callback'],
      token_endpoint_auth_method: 'client_secret_basic',
      grant_types: ['authorization_code'],
      response_types: ['code'],
      application_type: 'web',
      // Nothing of any API: that has to be registered by name.
      scope: 'openid profile email address phone offline_access',
    });
  });

  it('asks a client without the code grant for no redirect URI, and gives it no scope unasked', () => {
    expect(checkClientMetadata({ grant_types: ['client_credentials'] }, rules).metadata).toMatchObject({
      redirect_uris: [],
      response_types: [],
      scope: '',
    });
  });

  it('ignores what nobody here knows, and says so', () => {
    const { metadata, ignored } = checkClientMetadata({ ...CODE, software_statement: 'a.b.c', x: 1 }, rules);
    expect(ignored).toEqual(['software_statement', 'x']);
    expect(metadata).not.toHaveProperty('x');
    expect(metadata).not.toHaveProperty('software_statement');
  });

  it.each<[what: string, jwks: unknown]>([
    ['a bare JWK', { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }],
    ['a list of JWKs', [{ kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }]],
    ['keys that are no list', { keys: { kty: 'EC' } }],
    ['text', '{"keys":[]}'],
  ])('takes no %s for jwks, and says what it must be', (_what, jwks) => {
    const client = { ...CODE, token_endpoint_auth_method: 'private_key_jwt', jwks };
    expect(() => checkClientMetadata(client, rules)).toThrow(/^jwks: must be a JWK Set: \{ keys: \[ \.\.\. \] \}$/);
  });

  it('keeps what it knows as it was sent', () => {
    const known = {
      ...CODE,
      client_id: 'my-client:1',
      client_name: 'Fotos – schön',
      client_uri: 'https://app.example/',
      logo_uri: 'https://app.example/logo.png',
      policy_uri: 'https://app.example/policy',
      tos_uri: 'https://app.example/terms',
      contacts: ['me@app.example'],
      software_id: 'x',
      software_version: '1',
      skip_consent: true,
      id_token_signed_response_alg: 'EdDSA',
      access_token_lifetime: 3600,
      refresh_token_lifetime: 86_400,
      allowed_origins: ['https://other.example', 'http://localhost:4000'],
      scope: 'openid photos.read',
    };
    // `my-client:` is what a URL's scheme looks like; a leading digit is not.
    const { metadata } = checkClientMetadata({ ...known, client_id: '1:%/x' }, rules);
    expect(metadata).toMatchObject({ ...known, client_id: '1:%/x' });
  });

  it.each<[field: string, metadata: unknown]>([
    ['client metadata', undefined],
    ['client metadata', null],
    ['client metadata', 'text'],
    ['client metadata', ['redirect_uris']],
    ['client_id', { ...CODE, client_id: '' }],
    ['client_id', { ...CODE, client_id: 'a b' }],
    ['client_id', { ...CODE, client_id: 'é' }],
    ['client_id', { ...CODE, client_id: 'a'.repeat(101) }],
    ['client_id', { ...CODE, client_id: '0f8fad5b-d9cb-469f-a165-70867728950e' }],
    ['client_id', { ...CODE, client_id: '0F8FAD5B-D9CB-469F-A165-70867728950E' }],
    ['client_id', { ...CODE, client_id: 'https://app.example/client' }],
    ['client_id', { ...CODE, client_id: 'urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e' }],
    ['client_id', { ...CODE, client_id: 42 }],
    ['client_name', { ...CODE, client_name: '' }],
    ['client_name', { ...CODE, client_name: 'x'.repeat(201) }],
    ['client_uri', { ...CODE, client_uri: 'javascript:alert(1)' }],
    ['client_uri', { ...CODE, client_uri: 'http://app.example' }],
    ['client_uri', { ...CODE, client_uri: 'https://user@app.example' }],
    ['logo_uri', { ...CODE, logo_uri: 'data:image/svg+xml,x' }],
    ['policy_uri', { ...CODE, policy_uri: '/policy' }],
    ['tos_uri', { ...CODE, tos_uri: 'ftp://app.example' }],
    ['contacts', { ...CODE, contacts: 'me@app.example' }],
    ['redirect_uris', {}],
    ['redirect_uris', { redirect_uris: [] }],
    ['redirect_uris', { redirect_uris: 'https://app.example' }],
    ['redirect_uris', { redirect_uris: ['https://app.example/#x'] }],
    ['redirect_uris', { redirect_uris: ['https://app.example/', 'javascript:alert(1)'] }],
    ['redirect_uris', { redirect_uris: ['com.example.app:/callback'] }],
    ['redirect_uris', { redirect_uris: Array.from({ length: 51 }, (_, index) => `https://app.example/${index}`) }],
    ['redirect_uris.0', { redirect_uris: [null] }],
    ['token_endpoint_auth_method', { ...CODE, token_endpoint_auth_method: 'client_secret_jwt' }],
    ['token_endpoint_auth_method', { ...CODE, token_endpoint_auth_method: '__proto__' }],
    ['grant_types', { ...CODE, grant_types: ['password'] }],
    ['grant_types', { ...CODE, grant_types: ['implicit'] }],
    ['grant_types', { ...CODE, grant_types: ['authorization_code', 'constructor'] }],
    ['grant_types', { grant_types: ['client_credentials'], token_endpoint_auth_method: 'none' }],
    ['response_types', { ...CODE, response_types: ['token'] }],
    ['response_types', { ...CODE, response_types: ['code', 'code id_token'] }],
    ['response_types', { ...CODE, response_types: [] }],
    ['response_types', { grant_types: ['client_credentials'], response_types: ['code'] }],
    ['application_type', { ...CODE, application_type: 'spa' }],
    ['scope', { ...CODE, scope: 'openid ph"otos' }],
    ['scope', { ...CODE, scope: ['openid'] }],
    ['skip_consent', { ...CODE, skip_consent: 'yes' }],
    ['skip_consent', { redirect_uris: ['http://127.0.0.1/'], skip_consent: true, token_endpoint_auth_method: 'none' }],
    ['skip_consent', { redirect_uris: ['http://localhost/'], skip_consent: true, token_endpoint_auth_method: 'none' }],
    [
      'skip_consent',
      {
        redirect_uris: ['https://app.example/', 'com.example.app:/'],
        application_type: 'native',
        skip_consent: true,
        token_endpoint_auth_method: 'none',
      },
    ],
    ['id_token_signed_response_alg', { ...CODE, id_token_signed_response_alg: 'none' }],
    ['id_token_signed_response_alg', { ...CODE, id_token_signed_response_alg: 'HS256' }],
    ['access_token_lifetime', { ...CODE, access_token_lifetime: 3601 }],
    ['access_token_lifetime', { ...CODE, access_token_lifetime: 0 }],
    ['access_token_lifetime', { ...CODE, access_token_lifetime: 1.5 }],
    ['access_token_lifetime', { ...CODE, access_token_lifetime: '60' }],
    ['refresh_token_lifetime', { ...CODE, refresh_token_lifetime: 121 * 86_400 }],
    ['refresh_token_lifetime', { ...CODE, refresh_token_lifetime: 59 }],
    ['allowed_origins', { ...CODE, allowed_origins: ['*'] }],
    ['allowed_origins', { ...CODE, allowed_origins: ['null'] }],
    ['allowed_origins', { ...CODE, allowed_origins: ['https://app.example/'] }],
    ['allowed_origins', { ...CODE, allowed_origins: ['https://app.example/path'] }],
    ['allowed_origins', { ...CODE, allowed_origins: ['http://app.example'] }],
    ['allowed_origins', { ...CODE, allowed_origins: ['https://APP.example'] }],
  ])('is refused for its %s: %j', (field, metadata) => {
    const check = () => checkClientMetadata(metadata, rules);
    expect(check).toThrow(OAuthError);
    try {
      check();
    } catch (error) {
      const { code, message } = error as OAuthError;
      expect(message.startsWith(`${field}: `), message).toBe(true);
      expect(['invalid_client_metadata', 'invalid_redirect_uri']).toContain(code);
      // RFC 6749 §5.2: what error_description may hold; the operator's own text is not echoed raw.
      expect(message).not.toMatch(/["\\]/);
    }
  });

  it('may skip consent where nobody else can claim the address', () => {
    const claimable = { redirect_uris: ['http://127.0.0.1/'], skip_consent: true };
    expect(() => checkClientMetadata(claimable, rules)).not.toThrow();
    expect(() =>
      checkClientMetadata({ ...CODE, skip_consent: true, token_endpoint_auth_method: 'none' }, rules),
    ).not.toThrow();
  });
});

describe('the client that metadata stand for', () => {
  it('lets browser code of its redirect URIs and allowed origins call (CORS)', () => {
    const client = clientOf({
      redirect_uris: ['https://app.example/callback', 'http://localhost:4000/spa', 'com.example.app:/callback'],
      allowed_origins: ['https://other.example'],
    });
    expect([...client.origins]).toEqual(['https://app.example', 'http://localhost:4000', 'https://other.example']);
  });
});
