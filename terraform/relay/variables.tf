# What the relay is for

variable "name" {
  description = "Name of the relay: begins the names of everything that is made, so two can live in one account."
  type        = string
  default     = "roost"
  nullable    = false
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "name must have 1 to 20 small letters, digits and hyphens, and begin with a letter."
  }
}

variable "box_public_key" {
  description = "WireGuard public key of the box."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$", var.box_public_key))
    error_message = "box_public_key is no WireGuard key: it has 44 characters of base64, the last of them \"=\" (the box's portal shows it)."
  }
}

variable "relay_private_key" {
  description = "WireGuard private key of the relay (wg genkey). Ephemeral: goes to the parameter store and nowhere else, so it must be given at every apply."
  type        = string
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = can(regex("^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$", var.relay_private_key))
    error_message = "relay_private_key is no WireGuard key: it has 44 characters of base64, the last of them \"=\" (wg genkey makes one)."
  }
}

variable "relay_private_key_version" {
  description = "To be raised when relay_private_key has changed: Terraform cannot see that by itself. The relay takes the new key at its next start."
  type        = number
  default     = 1
  nullable    = false
  validation {
    condition     = var.relay_private_key_version == floor(var.relay_private_key_version) && var.relay_private_key_version >= 1
    error_message = "relay_private_key_version must be a whole number from 1."
  }
}

# DNS

variable "zones" {
  description = "Domains that the relay keeps copies of and answers for when the box is away. None: no name server on the relay, DNS always goes to the box."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "tsig_secret" {
  description = "Secret of the zone transfers (32 bytes in base64), needed with zones. Ephemeral as relay_private_key is."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = length(var.zones) == 0 || can(regex("^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$", var.tsig_secret))
    error_message = "tsig_secret must be 32 bytes in base64, 44 characters, when zones are named (openssl rand -base64 32 makes one)."
  }
}

variable "tsig_secret_version" {
  description = "To be raised when tsig_secret has changed."
  type        = number
  default     = 1
  nullable    = false
  validation {
    condition     = var.tsig_secret_version == floor(var.tsig_secret_version) && var.tsig_secret_version >= 1
    error_message = "tsig_secret_version must be a whole number from 1."
  }
}

variable "mail_host" {
  description = "Name to which the Elastic IP leads back (PTR), such as mail.example.org. Second phase: AWS wants its A record to be there first. Null: no PTR of your own."
  type        = string
  default     = null
  validation {
    condition     = var.mail_host == null || can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.){2,}[a-z0-9-]{2,63}$", var.mail_host))
    error_message = "mail_host must be a full name of a host in small letters without a dot at the end, such as mail.example.org."
  }
}

variable "registered_domain" {
  description = "Domain registered with Route 53 in this account whose name servers (ns1, ns2) and glue are set to this relay. Null: your registrar is elsewhere."
  type        = string
  default     = null
  validation {
    condition     = var.registered_domain == null || contains(var.zones, coalesce(var.registered_domain, "-"))
    error_message = "registered_domain must be one of zones: the relay has to answer for it."
  }
}

variable "dnssec_key" {
  description = "The key of registered_domain from which AWS makes the DS record at the parent (the box shows it). Second phase: a DS without a signed zone makes the domain unreachable. Null: none."
  type = object({
    algorithm  = number
    flags      = number
    public_key = string
  })
  default = null
  validation {
    condition     = var.dnssec_key == null || var.registered_domain != null
    error_message = "dnssec_key needs registered_domain: elsewhere you give the DS record to your registrar."
  }
  validation {
    condition     = var.dnssec_key == null || try(contains([8, 13, 14, 15], var.dnssec_key.algorithm) && var.dnssec_key.flags == 257 && can(regex("^[A-Za-z0-9+/]{40,}={0,2}$", var.dnssec_key.public_key)), false)
    error_message = "dnssec_key must have algorithm 8, 13, 14 or 15, flags 257 (a key-signing key) and the public key in base64."
  }
}

# Machine and network

variable "instance_type" {
  description = "Size of the instance; an ARM one. A t4g.nano carries about 32 Mbit/s for long, more for a while."
  type        = string
  default     = "t4g.nano"
  nullable    = false
  validation {
    condition     = can(regex("^(a1|[a-z]+[0-9]+g[a-z]*)\\.[a-z0-9-]+$", var.instance_type))
    error_message = "instance_type must be one with an ARM processor (its family has a \"g\" after the number), such as t4g.nano."
  }
}

variable "ami_id" {
  description = "Image of the instance: Debian 12 or 13 for ARM. Null: what ami_parameter names."
  type        = string
  default     = null
  validation {
    condition     = var.ami_id == null || can(regex("^ami-[0-9a-f]{8,17}$", var.ami_id))
    error_message = "ami_id must be the id of an image, such as ami-0123456789abcdef0."
  }
}

variable "ami_parameter" {
  description = "Public parameter that names the image. A newer image replaces no running instance: for that, terraform apply -replace."
  type        = string
  default     = "/aws/service/debian/release/13/latest/arm64"
  nullable    = false
  validation {
    condition     = startswith(var.ami_parameter, "/")
    error_message = "ami_parameter must be the name of a parameter and begin with \"/\"."
  }
}

variable "volume_gb" {
  description = "Size of the root volume in GB."
  type        = number
  default     = 8
  nullable    = false
  validation {
    condition     = var.volume_gb == floor(var.volume_gb) && var.volume_gb >= 8 && var.volume_gb <= 100
    error_message = "volume_gb must be a whole number from 8 (what Debian's image needs) to 100."
  }
}

variable "availability_zone" {
  description = "Zone of the subnet, such as eu-central-1a. Null: AWS chooses."
  type        = string
  default     = null
  validation {
    condition     = var.availability_zone == null || can(regex("^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$", var.availability_zone))
    error_message = "availability_zone must be the name of a zone, such as eu-central-1a."
  }
}

variable "vpc_cidr" {
  description = "Private IPv4 network of the VPC. Nothing is in it but the relay."
  type        = string
  default     = "10.76.0.0/24"
  nullable    = false
  validation {
    condition     = can(regex("^(10\\.|192\\.168\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.).*/(1[6-9]|2[0-7])$", var.vpc_cidr)) && try(cidrsubnet(var.vpc_cidr, 0, 0), "") == var.vpc_cidr
    error_message = "vpc_cidr must be a private network of /16 to /27 that begins at its first address, such as 10.76.0.0/24."
  }
}

variable "elastic_ip_allocation_id" {
  description = "An Elastic IP of your own (eipalloc-…), which outlives this relay with its PTR, its reputation and AWS's approval of port 25. Null: one is made, and released by destroy."
  type        = string
  default     = null
  validation {
    condition     = var.elastic_ip_allocation_id == null || can(regex("^eipalloc-[0-9a-f]{8,17}$", var.elastic_ip_allocation_id))
    error_message = "elastic_ip_allocation_id must be the id of an allocation, such as eipalloc-0123456789abcdef0."
  }
}

variable "second_elastic_ip" {
  description = "Whether ns2 gets an IPv4 address of its own, for registries that want two. Costs as much as the first."
  type        = bool
  default     = false
  nullable    = false
  validation {
    condition     = !var.second_elastic_ip || length(var.zones) > 0
    error_message = "second_elastic_ip needs zones: the relay's own name server answers there."
  }
}

# Tunnel

variable "wireguard_port" {
  description = "UDP port of the tunnel."
  type        = number
  default     = 51820
  nullable    = false
}

variable "tunnel_ipv4" {
  description = "Addresses inside the tunnel, a private /30: the relay has the first, the box the second."
  type        = string
  default     = "10.77.0.0/30"
  nullable    = false
}

variable "tunnel_ipv6" {
  description = "The same for IPv6, a unique local /126."
  type        = string
  default     = "fd77:77::/126"
  nullable    = false
}

variable "tunnel_mtu" {
  description = "Bytes of the largest packet inside the tunnel. 1380 also fits lines with PPPoE or DS-Lite."
  type        = number
  default     = 1380
  nullable    = false
}

# Upkeep

variable "reboot_time" {
  description = "Time of day (HH:MM, UTC) for the restart that some security updates need."
  type        = string
  default     = "03:30"
  nullable    = false
}

variable "session_manager" {
  description = "Whether you can get a shell by AWS Systems Manager (there is no SSH). Installs Amazon's agent, which is not in Debian."
  type        = bool
  default     = true
  nullable    = false
}

variable "auto_recovery" {
  description = "Whether alarms restart the instance when its host (moved to another one) or its system fails."
  type        = bool
  default     = true
  nullable    = false
}

variable "budget_email" {
  description = "Address that hears when the account's costs of a month pass 80 % of budget_usd or will pass it. Null: no budget."
  type        = string
  default     = null
  validation {
    condition     = var.budget_email == null || can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.budget_email))
    error_message = "budget_email must be a mail address; not one on the box, which may be what has failed."
  }
}

variable "budget_usd" {
  description = "The budget, in US dollars a month, for the whole account."
  type        = number
  default     = 15
  nullable    = false
  validation {
    condition     = var.budget_usd >= 1
    error_message = "budget_usd must be 1 or more."
  }
}

variable "tags" {
  description = "Tags for everything that can have some."
  type        = map(string)
  default     = {}
  nullable    = false
}
