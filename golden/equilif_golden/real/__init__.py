"""The same networks in real numbers; torch is confined to these modules."""
