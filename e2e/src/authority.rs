//! A certificate authority of a site, for servers that are not of the cluster.

use std::net::IpAddr;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// An authority that nobody trusts unless told to.
pub struct Authority {
    /// Its certificate, in PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a server shows, in PEM.
pub struct Identity {
    /// Its certificate.
    pub certificate: String,
    /// The key to that.
    pub key: String,
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Certificate authority of a site");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        Ok(Self {
            certificate: params.self_signed(&key)?.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// A certificate for the server at an address.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn issue(&self, address: IpAddr) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new([address.to_string()])?;
        Ok(Identity {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}
