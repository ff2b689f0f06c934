// A certified OIDC provider for the tests: `node provider.js PORT STORE`, with the store's address. Whoever gives a name
// is signed in by that name, with the roles below. Every start makes new keys. It says `ready` when it listens.
import { randomUUID } from 'node:crypto';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

const [port, store] = process.argv.slice(2);
const roles = { boss: ['store-admin'], maker: ['store-maker', 'other'], robot: ['store-maker'] };
const access = (name) => ({ preferred_username: name, realm_access: { roles: roles[name] ?? [] } });

const { privateKey } = await generateKeyPair('RS256', { extractable: true });
const key = { ...(await exportJWK(privateKey)), kid: randomUUID(), alg: 'RS256', use: 'sig' };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [key] },
  cookies: { keys: [randomUUID()] },
  clients: [
    {
      client_id: 'store',
      client_secret: 'the-store-s-secret',
      redirect_uris: [`${store}/sign-in/callback`],
      post_logout_redirect_uris: [`${store}/sign-in`],
      backchannel_logout_uri: `${store}/sign-out/back-channel`,
      backchannel_logout_session_required: true,
    },
    {
      client_id: 'robot',
      client_secret: 'the-robot-s-secret',
      redirect_uris: [],
      response_types: [],
      grant_types: ['client_credentials'],
    },
  ],
  claims: { openid: ['sub'], profile: ['preferred_username', 'realm_access'] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...access(id) }) }),
  // Nobody has to consent to what these tests do.
  loadExistingGrant: async (ctx) => {
    const { client, session } = ctx.oidc;
    const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope('openid profile');
    await grant.save();
    return grant;
  },
  extraTokenClaims: (_, token) => access(token.clientId),
  features: {
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        scope: 'use',
        audience: new URL(resource).hostname,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
    rpInitiatedLogout: { enabled: true },
  },
  pkce: { required: () => true },
  // Its own way to fetch refuses loopback, where the store is.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
});
provider.on('backchannel.error', (_, error) => console.log('back-channel logout failed', error.message));
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
