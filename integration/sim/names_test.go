package sim

import (
	"fmt"

	"clockarbiter/sources"
)

func idOf(i int) sources.ID { return sources.ID(fmt.Sprintf("ntp:192.0.2.%d", i+1)) }
