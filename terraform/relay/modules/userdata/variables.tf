variable "box_public_key" {
  description = "WireGuard public key of the box."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$", var.box_public_key))
    error_message = "box_public_key is no WireGuard key: it has 44 characters of base64, the last of them \"=\" (the box's portal shows it)."
  }
}

variable "region" {
  description = "AWS region in whose parameter store the secrets are; null on a machine that is not at AWS, which then makes its own."
  type        = string
  default     = null
  validation {
    condition     = var.region == null || can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is no name of an AWS region, such as eu-central-1."
  }
}

variable "key_parameter" {
  description = "Name of the parameter with the relay's private WireGuard key; needed with region."
  type        = string
  default     = null
  validation {
    condition     = var.region == null || can(regex("^/[A-Za-z0-9_./-]+$", var.key_parameter))
    error_message = "key_parameter must be the name of a parameter, such as /roost/home/wireguard-key, when region is set."
  }
}

variable "tsig_parameter" {
  description = "Name of the parameter with the TSIG secret (32 bytes in base64) for zone transfers; needed with region and zones."
  type        = string
  default     = null
  validation {
    condition     = var.region == null || length(var.zones) == 0 || can(regex("^/[A-Za-z0-9_./-]+$", var.tsig_parameter))
    error_message = "tsig_parameter must be the name of a parameter, such as /roost/home/tsig-secret, when region and zones are set."
  }
}

variable "zones" {
  description = "Domains that the relay keeps copies of and answers for when the box is away. None: no name server on the relay."
  type        = list(string)
  default     = []
  nullable    = false
  validation {
    condition     = alltrue([for zone in var.zones : can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z0-9-]{2,63}$", zone))])
    error_message = "zones must be names of domains in small letters without a dot at the end, such as example.org; international ones in their xn-- form."
  }
  validation {
    condition     = length(distinct(var.zones)) == length(var.zones)
    error_message = "zones names a domain twice."
  }
}

variable "tunnel_ipv4" {
  description = "Addresses inside the tunnel: a private network of four; the relay has the first that can be used, the box the second."
  type        = string
  default     = "10.77.0.0/30"
  nullable    = false
  validation {
    condition     = can(regex("^(10\\.|192\\.168\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.).*/30$", var.tunnel_ipv4)) && try(cidrsubnet(var.tunnel_ipv4, 0, 0), "") == var.tunnel_ipv4
    error_message = "tunnel_ipv4 must be a private network of four addresses that begins at a multiple of four, such as 10.77.0.0/30."
  }
}

variable "tunnel_ipv6" {
  description = "The same for IPv6: a unique local network (RFC 4193) of four addresses."
  type        = string
  default     = "fd77:77::/126"
  nullable    = false
  validation {
    condition     = can(regex("^fd[0-9a-f]{2}:.*/126$", var.tunnel_ipv6)) && try(cidrsubnet(var.tunnel_ipv6, 0, 0), "") == var.tunnel_ipv6
    error_message = "tunnel_ipv6 must be a unique local network of four addresses in its short form, such as fd77:77::/126."
  }
}

variable "wireguard_port" {
  description = "UDP port of the tunnel."
  type        = number
  default     = 51820
  nullable    = false
  validation {
    condition     = var.wireguard_port == floor(var.wireguard_port) && var.wireguard_port >= 1024 && var.wireguard_port <= 65535
    error_message = "wireguard_port must be a whole number from 1024 to 65535."
  }
}

variable "tunnel_mtu" {
  description = "Bytes of the largest packet inside the tunnel. 1380 also fits lines with PPPoE or DS-Lite."
  type        = number
  default     = 1380
  nullable    = false
  validation {
    condition     = var.tunnel_mtu == floor(var.tunnel_mtu) && var.tunnel_mtu >= 1280 && var.tunnel_mtu <= 1420
    error_message = "tunnel_mtu must be a whole number from 1280 (what IPv6 needs) to 1420 (what Ethernet leaves)."
  }
}

variable "public_ipv4" {
  description = "Public addresses that are mapped to this machine from outside, as an Elastic IP is; by them the box may reach itself. Its own addresses need not be named."
  type        = list(string)
  default     = []
  nullable    = false
  validation {
    condition     = alltrue([for address in var.public_ipv4 : can(cidrnetmask("${address}/32"))])
    error_message = "public_ipv4 must be IPv4 addresses, such as 203.0.113.5."
  }
}

variable "second_ipv4" {
  description = "Addresses of this machine (at AWS private ones) at which its own name server always answers, never the box."
  type        = list(string)
  default     = []
  nullable    = false
  validation {
    condition     = alltrue([for address in var.second_ipv4 : can(cidrnetmask("${address}/32"))])
    error_message = "second_ipv4 must be IPv4 addresses, such as 10.76.0.11."
  }
}

variable "second_ipv6" {
  description = "The same for IPv6."
  type        = list(string)
  default     = []
  nullable    = false
  validation {
    condition     = alltrue([for address in var.second_ipv6 : strcontains(address, ":") && can(cidrhost("${address}/128", 0))])
    error_message = "second_ipv6 must be IPv6 addresses, such as 2001:db8::53."
  }
}

variable "reboot_time" {
  description = "Time of day (HH:MM, UTC) for the restart that some security updates need."
  type        = string
  default     = "03:30"
  nullable    = false
  validation {
    condition     = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", var.reboot_time))
    error_message = "reboot_time must be a time of day such as 03:30."
  }
}

variable "ssh_port" {
  description = "TCP port of SSH that stays open; null closes it. For a machine that is not at AWS, whose owner would be locked out."
  type        = number
  default     = null
  validation {
    condition     = var.ssh_port == null || try(var.ssh_port == floor(var.ssh_port) && var.ssh_port >= 1 && var.ssh_port <= 65535 && !contains([25, 53, 80, 443, 465, 587, 993, 995, 4190], var.ssh_port), false)
    error_message = "ssh_port must be a whole number from 1 to 65535 that is no port of the box."
  }
}

variable "session_manager" {
  description = "Whether Amazon's agent is installed, for AWS Systems Manager's Session Manager; needs region."
  type        = bool
  default     = false
  nullable    = false
  validation {
    condition     = !var.session_manager || var.region != null
    error_message = "session_manager needs region: without it the machine is not at AWS."
  }
}
